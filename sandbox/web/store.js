// What the page knows: bots, people, chats and their messages. Events change it; views hear of each change.

import * as api from "./api.js";
import { listen } from "./stream.js";

export const PAGE = 60; // messages loaded at a time

const key = (bot, chat) => `${bot}/${chat}`;

/** One chat of one bot. `messages` maps ids to Bot API Messages, in order; `complete`: nothing earlier is left. */
class Chat {
  constructor(bot, info) {
    this.bot = bot;
    this.info = info;
    this.messages = new Map();
    this.loaded = false;
    this.loading = null; // the promise of messages that are on their way
    this.missed = []; // events that came meanwhile
    this.complete = false;
    this.unread = 0;
    this.latest = null;
    this.keyboard = null; // a reply keyboard, or its removal
  }

  get place() {
    return { bot: this.bot, chat: this.info.id };
  }
}

/**
 * Fires `reset` (all is new), `chats` (lists changed), `connected`, and for one chat `sent`, `edited`, `deleted`,
 * `chat_action`, `callback_answered`, `keyboard`, each with the event and its `chat` as detail.
 */
export class Store extends EventTarget {
  world = null;
  bots = [];
  people = new Map();
  guide = { people: [], steps: [], samples: null };
  chats = new Map();
  connected = false;
  #close = () => {};

  /** Load everything anew and follow what happens from there. */
  async start() {
    this.#close();
    const found = await api.world();
    this.world = found.world;
    this.bots = found.bots;
    this.guide = found.guide;
    this.chats = new Map();
    this.people = new Map();
    for (const person of [...found.guide.people, ...found.people]) this.#meet(person);
    for (const { bot, chat, last_message: latest, keyboard } of found.chats) {
      Object.assign(this.chat(bot, chat), { latest, keyboard });
    }
    this.#close = listen(found.last, {
      event: (event) => this.#apply(event),
      bots: () => this.#refreshBots(),
      connected: (yes) => this.#connect(yes),
      world: ({ world, bots }) => {
        if (world !== this.world) this.#again();
        else if (bots !== this.bots.length) this.#refreshBots(); // One came before anybody listened.
      },
    });
    this.#fire("reset");
  }

  /** The chat of that bot, made where it is new. `info` is a Bot API Chat; its id is enough for one that exists. */
  chat(bot, info) {
    const place = key(bot, info.id);
    if (!this.chats.has(place)) this.chats.set(place, new Chat(bot, info));
    return this.chats.get(place);
  }

  /** Load the latest messages of a chat, or the ones before those that are there; whoever asks meanwhile gets the same. */
  load(chat) {
    chat.loading ??= this.#load(chat).finally(() => (chat.loading = null));
    return chat.loading;
  }

  async #load(chat) {
    const first = chat.loaded ? chat.messages.keys().next().value : undefined;
    chat.missed = [];
    const found = await api.messages(chat.place, PAGE, first);
    chat.complete = found.length < PAGE;
    const known = chat.messages;
    chat.messages = new Map(found.map((message) => [message.message_id, message]));
    for (const [id, message] of known) chat.messages.set(id, message);
    chat.loaded = true;
    for (const event of chat.missed) this.#keep(chat, event);
    return [...chat.messages.values()].filter(({ message_id: id }) => !known.has(id) && !(first && id > first));
  }

  #meet(user) {
    if (!user.is_bot) this.people.set(user.id, { ...this.people.get(user.id), ...user });
  }

  #apply(event) {
    const info = event.message?.chat ?? { id: event.chat_id, type: "private" };
    const isNew = !this.chats.has(key(event.bot, info.id));
    const chat = this.chat(event.bot, info);
    if (event.message) this.#note(chat, event);
    if (event.type === "keyboard") chat.keyboard = event.reply_markup;
    if (chat.loading) chat.missed.push(event);
    this.#keep(chat, event);
    if (event.type === "deleted" && event.message_id === chat.latest?.message_id) this.#lookBack(chat);
    if (isNew || (event.message && event.message === chat.latest)) this.#fire("chats");
    this.#fire(event.type, { ...event, chat });
  }

  /** Who spoke, and what the list of chats shows of it. */
  #note(chat, { type, message }) {
    if (!message.from.is_bot && !this.people.has(message.from.id)) this.#fire("chats");
    this.#meet(message.from);
    if (type === "sent" && message.from.id !== chat.info.id) chat.unread += 1; // In private, a person's id is the chat's.
    if (!chat.latest || message.message_id >= chat.latest.message_id) chat.latest = message;
  }

  /** What is the latest message now that the one that was is gone? */
  async #lookBack(chat) {
    if (!chat.loaded) await this.load(chat);
    chat.latest = [...chat.messages.values()].at(-1) ?? null;
    this.#fire("chats");
  }

  /** Change the messages of a chat that is loaded. */
  #keep(chat, { type, message, message_id: id }) {
    if (!chat.loaded) return;
    if (type === "sent" || (type === "edited" && chat.messages.has(message.message_id))) {
      chat.messages.set(message.message_id, message);
    }
    if (type === "deleted") chat.messages.delete(id);
  }

  async #refreshBots() {
    const found = await api.world();
    this.bots = found.bots;
    for (const { bot, chat, last_message: latest } of found.chats) this.chat(bot, chat).latest ??= latest;
    this.#fire("chats");
  }

  /** Another sandbox answers at this address: what was known is of no use. */
  #again() {
    this.start().catch(() => setTimeout(() => this.#again(), 1000));
  }

  #connect(yes) {
    this.connected = yes;
    this.#fire("connected");
  }

  #fire(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
