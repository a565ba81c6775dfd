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
  #menu = new Menu(() => this.#tried(() => api.commands(this.#chat.place, this.#me)));
  #chat = null;
  #me = null;
  #suggestion = "Message";
  #answered = null; // the message that is replied to
  #sent = Promise.resolve(); // when all so far is sent: one after the other, as it was written

  constructor() {
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
    this.#takeDrops();
  }

  /** Write into this chat as this person. */
  open(chat, me) {
    this.#chat = chat;
    this.#me = me;
    this.#clear();
    this.#complain("");
  }

  reply(message) {
    this.#answered = message;
    show($("answering"), message !== null);
    $("answering").firstElementChild.textContent = message ? `Reply to: ${summary(message)}` : "";
    if (message) this.#text.focus();
  }

  /** What the empty box says. */
  suggest(words = "Message") {
    this.#suggestion = words;
    this.#hint();
  }

  attach(files) {
    this.#attachments.add(files);
    this.#text.focus();
  }

  async attachSample(path) {
    const file = await this.#tried(() => fetchSample(path));
    if (file) this.attach([file]);
  }

  async sendSamples(paths, caption) {
    const files = await this.#tried(() => Promise.all(paths.map(fetchSample)));
    if (files) await this.send({ files, caption });
  }

  /** Send beside what is being written, and behind what is on its way. Returns what was not taken. */
  send(...messages) {
    const [place, me] = [this.#chat.place, this.#me];
    this.#sent = this.#sent.then(() => this.#deliver(place, me, messages));
    return this.#sent;
  }

  async #deliver(place, me, messages) {
    const left = [...messages];
    $("send").ariaBusy = "true";
    try {
      for (; left.length; left.shift()) await api.send(place, me, left[0]);
      this.#complain("");
    } catch (error) {
      this.#complain(`Not sent: ${error.message}`);
    }
    $("send").ariaBusy = null;
    return left;
  }

  async #submit() {
    const messages = this.#messages(this.#text.value.trim());
    const [chat, me, answered] = [this.#chat, this.#me, this.#answered];
    if (!messages.length) return;
    this.#clear();
    const left = await this.send(...messages);
    if (left.length && chat === this.#chat && me === this.#me) this.#putBack(left, answered);
  }

  #messages(written) {
    const replyTo = this.#answered?.message_id;
    if (!this.#attachments.empty) return this.#attachments.batches().map((batch) => ({ ...batch, caption: written, replyTo }));
    return written ? [{ text: written, replyTo }] : [];
  }

  #clear() {
    this.#text.value = "";
    this.#attachments.clear();
    this.reply(null);
    this.#typed();
  }

  /** What was not sent is not lost, nor is what was written meanwhile. */
  #putBack(messages, answered) {
    const [{ text, caption }] = messages;
    this.#text.value = [text ?? caption, this.#text.value].filter(Boolean).join("\n");
    this.#attachments.putBack(messages);
    if (answered) this.reply(answered);
    this.#typed();
  }

  #typed() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    this.#menu.follow();
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
    const photo = await this.#tried(takePhoto);
    if (photo) this.attach([photo]);
  }

  #paste(event) {
    const files = event.clipboardData?.files ?? [];
    if (!files.length || $("chat").hidden) return;
    event.preventDefault();
    this.attach(files);
  }

  /** Files and samples may be dropped anywhere; a browser would leave the page for a file that is not taken. */
  #takeDrops() {
    const isWelcome = ({ dataTransfer: { types } }) => types.includes("Files") || types.includes("text/x-sample");
    document.addEventListener("dragover", (event) => {
      if (!isWelcome(event)) return;
      event.preventDefault();
      show($("drop"), true);
    });
    document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || show($("drop"), false));
    document.addEventListener("drop", (event) => {
      if (!isWelcome(event)) return;
      event.preventDefault();
      show($("drop"), false);
      if ($("chat").hidden) return;
      const sample = event.dataTransfer.getData("text/x-sample");
      if (sample) this.attachSample(sample);
      else this.attach(event.dataTransfer.files);
    });
  }

  #hint() {
    this.#text.placeholder = this.#attachments.empty ? this.#suggestion : "Caption";
  }

  /** What `work` gives, or undefined where it fails and the reader is told why. */
  async #tried(work) {
    try {
      return await work();
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #complain(words) {
    $("trouble").textContent = words;
    show($("trouble"), words !== "");
  }
}

/** A sample photo as a file. */
async function fetchSample(path) {
  const response = await fetch(api.sampleUrl(path));
  if (!response.ok) throw new Error("This sample photo is gone.");
  const blob = await response.blob();
  return new File([blob], path.split("/").at(-1), { type: blob.type });
}
