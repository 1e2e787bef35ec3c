from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from cxrlab.model.classifier import Classifier
from cxrlab.model.inference import inference_backbone, inference_network
from cxrlab.model.normalise import Normalise


def classifier_of(classes: int = 2, standardise: bool = False, **model: object) -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(
        task="binary" if classes == 2 else "multiclass",
        classes=[str(index) for index in range(classes)],
        image_size=32,
        preprocess={},
        mean=[0.4, 0.5, 0.6],
        std=[0.2, 0.25, 0.3],
        model_args={},
        class_weights=[1.0] * classes,
        model={
            "backbone": "mobilenetv2_050",
            "drop_path": 0.0,
            "standardise": standardise,
            "hidden": 8,
            "dropout": 0.5,
            "freeze_backbone": False,
            "freeze_stages": 0,
            "test_windows": [1.0],
            "test_mirror": False,
            **model,
        },
        loss={"label_smoothing": 0.0, "focal_gamma": 0.0, "mixup": 0.0},
        optimizer={},
        scheduler={},
    )
    for module in classifier.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return classifier


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("standardise", [False, True])
def test_the_copy_computes_the_classifiers_logits(classes: int, standardise: bool) -> None:
    classifier = classifier_of(classes, standardise)
    images = torch.rand(4, 1, 32, 32)
    network = inference_network(classifier)
    with torch.no_grad():
        expected = classifier.eval()(images)
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)


def test_the_features_are_the_backbones() -> None:
    classifier = classifier_of()
    images = torch.rand(4, 1, 32, 32)
    with torch.no_grad():
        features = inference_backbone(classifier)(images)
        expected = classifier.eval().backbone(images)
    assert features.shape == (4, classifier.backbone.num_features)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_the_copy_is_frozen_and_as_fast_as_can_be() -> None:
    several = classifier_of(test_windows=[1.1, 1.0], test_mirror=True)
    for module in (
        inference_network(classifier_of()),
        inference_network(several),
        inference_backbone(classifier_of()),
    ):
        assert not any(part.training for part in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert not any(isinstance(part, _BatchNorm) for part in module.modules())
        kernels = [parameter for parameter in module.parameters() if parameter.dim() == 4]
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_the_classifier_is_left_as_it_was() -> None:
    classifier = classifier_of(standardise=True)
    classifier.backbone.freeze(2)
    classifier.train()
    state = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    storage = [tensor.data_ptr() for tensor in classifier.state_dict().values()]
    modes = [module.training for module in classifier.modules()]
    trained = [parameter.requires_grad for parameter in classifier.parameters()]
    random = torch.get_rng_state()
    network = inference_network(classifier)
    # The copy may be changed freely.
    for tensor in network.state_dict().values():
        tensor.zero_()
    for module in network.modules():
        if isinstance(module, Normalise):
            module.standardise = False
    assert [tensor.data_ptr() for tensor in classifier.state_dict().values()] == storage
    assert all(torch.equal(state[k], tensor) for k, tensor in classifier.state_dict().items())
    assert [module.training for module in classifier.modules()] == modes
    assert [parameter.requires_grad for parameter in classifier.parameters()] == trained
    assert classifier.backbone.normalise.standardise
    assert torch.equal(torch.get_rng_state(), random)


def test_bfloat16_weights_are_computed_with_in_float32() -> None:
    classifier = classifier_of().bfloat16()
    network = inference_network(classifier)
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    assert {tensor.dtype for tensor in classifier.parameters()} == {torch.bfloat16}
    assert network(torch.rand(2, 1, 32, 32)).dtype == torch.float32


def test_gradients_of_the_input_can_be_had_of_a_copy_made_in_inference_mode() -> None:
    with torch.inference_mode():
        network = inference_network(classifier_of())
    images = torch.rand(2, 1, 32, 32, requires_grad=True)
    network(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0


def test_a_compiled_backbone_is_copied_uncompiled() -> None:
    classifier = classifier_of()
    classifier.backbone.net.compile(backend="eager")
    images = torch.rand(2, 1, 32, 32)
    network = inference_network(classifier)
    with torch.no_grad():
        expected = classifier.eval().backbone.net.forward(classifier.backbone.normalise(images))
        found = network[0](images)
    assert all(module._compiled_call_impl is None for module in network.modules())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_looks_are_averaged_and_can_be_left_out(classes: int) -> None:
    classifier = classifier_of(classes, test_windows=[1.0, 0.5, 1.25], test_mirror=True)
    images = torch.rand(4, 1, 32, 32)
    centre = functional.interpolate(images[:, :, 8:24, 8:24], size=(32, 32), mode="bilinear")
    framed = functional.pad(images, (4, 4, 4, 4))
    framed = functional.interpolate(framed, size=(32, 32), mode="bilinear")
    looks = [images, centre, framed]
    looks += [look.flip(3) for look in looks]
    with torch.no_grad():
        whole, several = (inference_network(classifier, views=v)(images) for v in (False, True))
        expected = torch.stack([classifier.eval()(look) for look in looks])
    torch.testing.assert_close(several, expected.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole, expected[0], rtol=1e-4, atol=1e-5)
