// Makes elements. Text goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

/** An element with these properties (`class`, `data` and aria- or role attributes too) and children (nodes or text). */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Shows or hides an element. */
export function show(element, shown) {
  element.hidden = !shown;
}

/** The time of day of a Bot API date (seconds since 1970), as the reader's system writes it. */
export const clock = (date) => new Date(date * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** The day of a Bot API date. */
export const day = (date) => new Date(date * 1000).toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });

/** A size in bytes, for people. */
export function bytes(size) {
  if (size === undefined) return "";
  if (size < 1000) return `${size} B`;
  return size < 1e6 ? `${Math.round(size / 1000)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}
