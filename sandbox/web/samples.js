// The tray of sample photos, to click or to drag into the chat.

import { sampleUrl } from "./api.js";
import { $, h, show } from "./dom.js";

const AGAIN = 1000; // milliseconds

/** A sample photo that is attached by `attach(path)` or dragged. */
export function thumbnail(path, attach) {
  const [group] = path.split("/");
  const made = h(
    "button",
    { type: "button", class: "sample", draggable: true, "aria-label": `Attach a photo: ${group}`, onclick: () => attach(path) },
    picture(path),
  );
  made.addEventListener("dragstart", ({ dataTransfer }) => {
    dataTransfer.setData("text/x-sample", path);
    dataTransfer.effectAllowed = "copy";
  });
  return made;
}

/** A picture that may not be drawn yet is asked for again. */
function picture(path) {
  const image = h("img", { src: sampleUrl(path), alt: "", loading: "lazy", draggable: false });
  image.addEventListener("error", () => setTimeout(() => image.isConnected && (image.src = sampleUrl(path)), AGAIN));
  return image;
}

/** Offers the samples, closed at first; `groups()` tells them anew at each opening, as [{name, files}]. */
export function offerSamples(offered, groups, attach) {
  const rows = h("div", { class: "rows" });
  const box = h("details", {}, h("summary", {}, "Sample photos: click one, or drag it into the chat"), rows);
  box.addEventListener("toggle", async () => {
    if (box.open) rows.replaceChildren(...(await groups()).map((group) => row(group, attach)));
  });
  $("samples").replaceChildren(box);
  show($("samples"), offered);
}

const row = ({ name, files }, attach) =>
  h("div", {}, h("h3", { dir: "auto" }, name), h("div", { class: "strip" }, ...files.map((path) => thumbnail(path, attach))));
