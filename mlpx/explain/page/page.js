"use strict";
// Step k shows every text that steps 0 … k brought, and lights up what step k is about.
const steps = JSON.parse(document.getElementById("steps").textContent);
const byId = (id) => document.getElementById(id);
const last = steps.length - 1;
const texts = new Set(steps.flatMap((step) => Object.keys(step.show)));
let current = 0;
let playing = null;

function listEntry(step, number) {
  const entry = document.createElement("li");
  entry.className = step.phase;
  const button = document.createElement("button");
  button.textContent = step.title;
  button.addEventListener("click", () => go(number));
  entry.append(button);
  return entry;
}

function figure(image) {
  const made = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = image.caption;
  const picture = document.createElement("img");
  picture.src = image.uri;
  picture.alt = image.caption;
  const cell = Math.max(1, Math.min(22, Math.floor(760 / image.columns), Math.floor(420 / image.rows)));
  picture.width = image.columns * cell;
  picture.height = image.rows * cell;
  made.append(caption, picture);
  return made;
}

function drawNumbers() {
  const shown = {};
  steps.slice(0, current + 1).forEach((step) => Object.assign(shown, step.show));
  texts.forEach((id) => {
    const text = byId(id);
    if (text === null) return;
    text.textContent = shown[id] ?? "";
    text.classList.toggle("new", id in steps[current].show);
  });
  document.querySelectorAll(".lit").forEach((element) => element.classList.remove("lit"));
  steps[current].light.forEach((id) => byId(id)?.classList.add("lit"));
  const lit = byId(steps[current].light[0]);
  const frame = document.querySelector(".drawing");
  if (lit === null || frame.scrollWidth <= frame.clientWidth) return;
  const middle = (box) => box.left + box.width / 2;
  frame.scrollLeft += middle(lit.getBoundingClientRect()) - middle(frame.getBoundingClientRect());
}

function tell() {
  const step = steps[current];
  byId("panel").className = step.phase;
  for (const part of ["phase", "title", "equation"]) byId(part).textContent = step[part];
  byId("lines").textContent = step.lines.join("\n");
  byId("images").replaceChildren(...step.images.map(figure));
  byId("count").textContent = `step ${current + 1} of ${steps.length} · ${step.phase}`;
  byId("slider").value = current;
  byId("first").disabled = byId("back").disabled = current === 0;
  byId("next").disabled = byId("last").disabled = current === last;
  const list = byId("list");
  list.querySelectorAll("button").forEach((button, number) => {
    button.toggleAttribute("aria-current", number === current);
  });
  const entry = list.children[current];
  list.scrollTop = Math.max(0, entry.offsetTop - list.offsetTop - list.clientHeight / 2);
}

function go(number) {
  current = Math.max(0, Math.min(last, number));
  drawNumbers();
  tell();
  history.replaceState(null, "", `#${current + 1}`);
  if (current === last) pause();
}

function pause() {
  clearInterval(playing);
  playing = null;
  byId("play").textContent = "Play";
}

function playOrPause() {
  if (playing !== null) return pause();
  if (current === last) go(0);
  playing = setInterval(() => go(current + 1), 1500);
  byId("play").textContent = "Pause";
}

const moves = {
  first: () => go(0), back: () => go(current - 1), next: () => go(current + 1), last: () => go(last), play: playOrPause,
};
const keys = { Home: "first", ArrowLeft: "back", ArrowRight: "next", End: "last", " ": "play" };

byId("list").append(...steps.map(listEntry));
byId("slider").max = last;
byId("slider").addEventListener("input", (event) => go(Number(event.target.value)));
Object.entries(moves).forEach(([id, move]) => byId(id).addEventListener("click", move));
document.addEventListener("keydown", (event) => {
  const focused = event.target.tagName; // the slider has these keys itself; a button is pressed by space
  if (!(event.key in keys) || focused === "INPUT" || (event.key === " " && ["BUTTON", "SUMMARY"].includes(focused))) return;
  event.preventDefault();
  moves[keys[event.key]]();
});
const asked = () => Number(location.hash.slice(1) || 1) - 1 || 0; // #7 is step 7
window.addEventListener("hashchange", () => go(asked()));
go(asked());
