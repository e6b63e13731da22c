// Renders the OpenAPI document as a readable manual. Everything is set as text, never as HTML.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function resolve(spec, value, depth = 0) {
  if (depth > 6 || value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((one) => resolve(spec, one, depth + 1));
  if (typeof value.$ref === "string") {
    const found = value.$ref.split("/").slice(1).reduce((at, key) => (at || {})[key], spec);
    return resolve(spec, found, depth + 1);
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(spec, inner, depth + 1)]));
}

function parameters(list) {
  if (!list.length) return null;
  const rows = list.map((one) => element("tr", {},
    element("td", {}, element("code", { textContent: one.name })),
    element("td", { textContent: one.in + (one.required ? ", required" : "") }),
    element("td", { textContent: [(one.schema || {}).type, one.description].filter(Boolean).join(": ") })));
  return element("table", {}, element("tbody", {}, ...rows));
}

function schemaOf(content) {
  const kinds = Object.entries(content || {});
  return kinds.length ? { kind: kinds[0][0], schema: kinds[0][1].schema || {} } : null;
}

function body(title, content) {
  const found = schemaOf(content);
  if (!found) return null;
  return element("div", {}, element("p", { textContent: `${title} (${found.kind})` }),
    element("pre", { textContent: JSON.stringify(found.schema, null, 1) }));
}

function filled(spec, item, operation, holder) {
  const list = [...(item.parameters || []), ...(operation.parameters || [])].map((one) => resolve(spec, one));
  const request = resolve(spec, operation.requestBody || {});
  const answers = Object.entries(operation.responses || {}).map(([status, answer]) => {
    const known = resolve(spec, answer) || {};
    return element("div", {}, element("p", {}, element("b", { textContent: status }), ` ${known.description || ""}`),
      body("Answer", known.content));
  });
  holder.append(...[element("p", { textContent: operation.description || "" }), parameters(list), body("Body", request.content), ...answers]
    .filter((child) => child !== null));
}

function entry(spec, path, method, item) {
  const operation = item[method];
  const holder = element("div", {});
  const made = element("details", {},
    element("summary", {},
      element("span", { className: `method ${method.toUpperCase()}`, textContent: method.toUpperCase() }),
      element("span", { className: "path", textContent: path }),
      operation.summary ? ` — ${operation.summary}` : ""),
    holder);
  made.dataset.text = `${method} ${path} ${operation.summary || ""}`.toLowerCase();
  made.addEventListener("toggle", () => { if (!holder.hasChildNodes()) filled(spec, item, operation, holder); });
  return made;
}

function render(spec) {
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((one) => item[one])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(entry(spec, path, method, item));
    }
  }
  const sections = [...groups].map(([tag, entries]) => element("section", {}, element("h2", { textContent: tag }), ...entries));
  document.getElementById("manual").replaceChildren(
    ...(spec.info.description || "").split("\n\n").map((text) => element("p", { textContent: text })), ...sections);
}

function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const one of document.querySelectorAll("details")) {
    one.hidden = !words.every((word) => one.dataset.text.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector("details:not([hidden])");
  }
}

document.getElementById("find").addEventListener("input", (event) => search(event.target.value));
fetch("/api/v1/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : answer.json().then((problem) => Promise.reject(new Error(problem.detail)))))
  .then(render)
  .catch((error) => {
    document.getElementById("manual").replaceChildren(element("p", { textContent: `The description cannot be shown: ${error.message}` }));
  });
