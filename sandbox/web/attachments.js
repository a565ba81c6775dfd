// Files that wait to be sent: chosen, dropped, pasted, taken with the camera, or samples.

import { $, h, show } from "./dom.js";

const PHOTOS = /^image\/(jpeg|png|webp)$/;
const ALBUM = 10; // items at most

/** Whether the sandbox can take it as a photo. */
const isPhoto = (file) => PHOTOS.test(file.type);

export class Attachments {
  #waiting = []; // {file, url}
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
  }

  get empty() {
    return this.#waiting.length === 0;
  }

  add(files) {
    for (const file of files) this.#waiting.push({ file, url: isPhoto(file) ? URL.createObjectURL(file) : null });
    this.#draw();
  }

  /** Let what could not be sent wait again, as what it was to be sent. */
  putBack(batches) {
    this.add(batches.flatMap(({ files = [] }) => files));
    $("as-files").firstElementChild.checked ||= batches.some(({ kind, files }) => kind === "document" && files.some(isPhoto));
  }

  clear() {
    for (const { url } of this.#waiting) if (url) URL.revokeObjectURL(url);
    this.#waiting = [];
    $("as-files").firstElementChild.checked = false;
    this.#draw();
  }

  /** What to send, as [{kind, files}], at most ten files each: several are an album. */
  batches() {
    const asFiles = $("as-files").firstElementChild.checked;
    const files = this.#waiting.map(({ file }) => file);
    const photos = files.filter((file) => isPhoto(file) && !asFiles);
    const documents = files.filter((file) => !isPhoto(file) || asFiles);
    return [...cut(photos, "photo"), ...cut(documents, "document")];
  }

  #remove(item) {
    if (item.url) URL.revokeObjectURL(item.url);
    this.#waiting.splice(this.#waiting.indexOf(item), 1);
    this.#draw();
    $("text").focus();
  }

  #draw() {
    $("attachments").replaceChildren(...this.#waiting.map((item) => this.#thumbnail(item)));
    show($("attachments"), !this.empty);
    show($("as-files"), this.#waiting.some(({ file }) => isPhoto(file)));
    this.#onChange();
  }

  #thumbnail(item) {
    const { file, url } = item;
    const picture = url ? h("img", { src: url, alt: file.name }) : h("img", { src: "/web/file.svg", alt: "", class: "icon" });
    return h(
      "li",
      {},
      picture,
      url ? null : h("bdi", { class: "name" }, file.name),
      h("button", { type: "button", "aria-label": `Leave out ${file.name}`, onclick: () => this.#remove(item) }, "✕"),
    );
  }
}

function* cut(files, kind) {
  for (let start = 0; start < files.length; start += ALBUM) yield { kind, files: files.slice(start, start + ALBUM) };
}
