// Where the reader writes: text, captions, replies, files, commands.

import * as api from "./api.js";
import { Attachments } from "./attachments.js";
import { takePhoto } from "./camera.js";
import { $, show } from "./dom.js";
import { Menu } from "./menu.js";
import { summary } from "./text.js";

export class Composer {
  #text = $("text");
  #attachments = new Attachments(() => this.#hint());
  #menu;
  #chat = null;
  #me = null;
  #replyTo = null;
  #sending = false;

  constructor() {
    this.#menu = new Menu(() => api.commands(this.#chat.place, this.#me));
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#typed());
    this.#text.addEventListener("keydown", (event) => this.#pressed(event));
    $("answering").querySelector("button").addEventListener("click", () => this.reply(null));
    $("attach").addEventListener("click", () => $("files").click());
    $("files").addEventListener("change", () => {
      this.attach($("files").files);
      $("files").value = "";
    });
    $("camera").addEventListener("click", () => this.#shoot());
    document.addEventListener("paste", (event) => this.#paste(event));
    this.#takeDrops($("chat"));
  }

  /** Write into this chat as this person. */
  open(chat, me) {
    this.#chat = chat;
    this.#me = me;
    this.#text.value = "";
    this.#attachments.clear();
    this.reply(null);
    this.#complain("");
  }

  reply(message) {
    this.#replyTo = message?.message_id ?? null;
    show($("answering"), message !== null);
    $("answering").firstElementChild.textContent = message ? `Reply to: ${summary(message)}` : "";
    if (message) this.#text.focus();
  }

  attach(files) {
    this.#attachments.add(files);
    this.#text.focus();
  }

  /** Send at once, beside what is being written. Returns whether it was taken. */
  async send(...messages) {
    const [place, me] = [this.#chat.place, this.#me];
    try {
      for (const message of messages) await api.send(place, me, message);
      this.#complain("");
      return true;
    } catch (error) {
      this.#complain(`Not sent: ${error.message}`);
      return false;
    }
  }

  async #submit() {
    const written = this.#text.value.trim();
    if (this.#sending || (!written && this.#attachments.empty)) return;
    this.#sending = true;
    $("send").disabled = true;
    const sent = await this.send(...this.#messages(written));
    this.#sending = false;
    $("send").disabled = false;
    if (!sent) return;
    this.#text.value = "";
    this.#attachments.clear();
    this.reply(null);
    this.#typed();
  }

  #messages(written) {
    const replyTo = this.#replyTo;
    if (this.#attachments.empty) return [{ text: written, replyTo }];
    return this.#attachments.batches().map((batch) => ({ ...batch, caption: written, replyTo }));
  }

  #typed() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    this.#menu.follow().catch((error) => this.#complain(error.message));
  }

  #pressed(event) {
    if (event.isComposing || this.#menu.press(event)) return;
    if (event.key === "Escape") this.reply(null);
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    }
  }

  async #shoot() {
    try {
      const photo = await takePhoto();
      if (photo) this.attach([photo]);
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #paste(event) {
    const files = event.clipboardData?.files ?? [];
    if (!files.length || $("chat").hidden) return;
    event.preventDefault();
    this.attach(files);
  }

  #takeDrops(area) {
    let depth = 0; // Entering a child comes before leaving its parent.
    const shade = (change) => {
      depth = Math.max(0, depth + change);
      show($("drop"), depth > 0);
    };
    const welcome = ({ dataTransfer: { types } }) => types.includes("Files") || types.includes("text/x-sample");
    area.addEventListener("dragenter", (event) => welcome(event) && shade(1));
    area.addEventListener("dragleave", (event) => welcome(event) && shade(-1));
    area.addEventListener("dragover", (event) => welcome(event) && event.preventDefault());
    area.addEventListener("drop", async (event) => {
      if (!welcome(event)) return;
      event.preventDefault();
      shade(-depth);
      const sample = event.dataTransfer.getData("text/x-sample");
      this.attach(sample ? [await fetchSample(sample)] : event.dataTransfer.files);
    });
  }

  #hint() {
    this.#text.placeholder = this.#attachments.empty ? "Message" : "Caption";
  }

  #complain(words) {
    $("trouble").textContent = words;
    show($("trouble"), words !== "");
  }
}

/** A sample photo as a file. */
export async function fetchSample(path) {
  const response = await fetch(api.sampleUrl(path));
  if (!response.ok) throw new Error("This sample photo is gone.");
  const blob = await response.blob();
  return new File([blob], path.split("/").at(-1), { type: blob.type });
}
