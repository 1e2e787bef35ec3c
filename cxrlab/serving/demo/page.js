// Files in, a card each. Text is only ever set as text, so a name or a class is never markup.
"use strict";

const MOST = 2; // files on their way at once; the server computes one at a time
const limit = 1e6 * Number(document.body.dataset.limit);
const cards = document.getElementById("cards");
const waiting = [];
let running = 0;

function made(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

function fill(element, texts) {
  for (const [selector, text] of Object.entries(texts)) {
    element.querySelector(selector).textContent = text;
  }
  return element;
}

function take(files) {
  const batch = Array.from(files, (file) => ({ file, card: fill(made("card"), { h3: file.name }) }));
  cards.prepend(...batch.map((job) => job.card));
  waiting.push(...batch);
  while (running < MOST && waiting.length) next();
}

async function next() {
  const job = waiting.shift();
  running += 1;
  const status = job.card.querySelector(".status");
  status.textContent = "looking";
  try {
    show(job.card, await ask(job.file));
  } catch (error) {
    status.textContent = error.message;
    status.classList.remove("soft");
    status.classList.add("fatal");
  }
  status.classList.remove("busy");
  running -= 1;
  if (waiting.length) next();
}

async function ask(file) {
  if (file.size > limit) throw new Error(`larger than ${limit / 1e6} MB, the limit`);
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error("can't be opened; a folder? Drop the files in it");
  }
  let response;
  try {
    response = await fetch("/predict", {
      method: "POST",
      headers: {
        "Content-Type": "application/octet-stream",
        "X-File-Name": encodeURIComponent(file.name.toWellFormed?.() ?? file.name),
      },
      body: file,
    });
  } catch {
    throw new Error("no answer; is the demo still running?");
  }
  const answer = await response.json().catch(() => ({ error: `status ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function show(card, answer) {
  fill(card, { ".status": answer.source, ".explained": answer.explained });
  for (const image of card.querySelectorAll(".seen")) image.src = answer.image;
  card.querySelector(".seen").alt = "The image as the model sees it";
  if (answer.layer) {
    const layer = card.querySelector(".layer");
    layer.src = answer.layer;
    layer.alt = `Heat map of the evidence for ${answer.explained}`;
    const slider = card.querySelector("input");
    slider.addEventListener("input", () => { layer.style.opacity = slider.value / 100; });
  } else {
    card.querySelectorAll(".evidence").forEach((element) => element.remove());
  }
  const about = document.createElement("small");
  about.textContent = "Decision";
  card.querySelector(".decision").replaceChildren(about, answer.decision);
  card.querySelector(".scores").replaceChildren(...answer.scores.map(scored));
  card.querySelector(".warnings").replaceChildren(...answer.warnings.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  card.querySelector(".result").hidden = false;
}

function scored(score) {
  const found = fill(made("score"), {
    ".name": `Probability of ${score.name}`,
    ".probability": score.shown[0],
    ".calibrated": `Calibrated ${score.shown[1]}`,
    ".threshold": score.threshold === null ? "" : `Threshold ${score.threshold}`,
  });
  found.classList.toggle("yes", score.positive);
  found.querySelector("i").style.width = `${100 * score.probability}%`;
  const cut = found.querySelector("u");
  cut.hidden = score.cut === null;
  cut.style.left = `${100 * score.cut}%`;
  return found;
}

const input = document.getElementById("files");
input.addEventListener("change", () => {
  take(input.files);
  input.value = ""; // the same file can be chosen again
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // else a browser opens the file in place of the page
    document.body.classList.toggle("over", kind === "dragover" || kind === "dragenter");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
