// The page: what /openapi.json says, and a way to try what only reads.
import { element, fields, prose, resolved, typeName } from "./schema.js";

const METHODS = ["get", "post", "put", "patch", "delete", "options"];
/** An answer longer than this is cut (characters). */
const LONGEST = 20_000;
const gateway = new URL("..", location.href);
const routes = document.querySelector("#routes");
const state = document.querySelector("#state");

try {
  const response = await fetch(new URL("openapi.json", gateway));
  if (!response.ok) {
    throw new Error(`HTTP ${response.status}`);
  }
  show(await response.json());
} catch (error) {
  state.textContent = `The description could not be loaded (${error.message}). Reload the page to try again.`;
}

function show(api) {
  document.querySelector("#version").textContent = api.info.version;
  document.querySelector("#about").replaceWith(prose(api.info.description));
  state.textContent = "";
  for (const tag of api.tags ?? []) {
    const list = Object.entries(api.paths).flatMap(([path, item]) =>
      METHODS.filter((method) => item[method]?.tags?.includes(tag.name)).map((method) =>
        route(api, path, method, item[method]),
      ),
    );
    routes.append(
      element(
        "section",
        { "aria-labelledby": `tag-${tag.name}` },
        element("h2", { id: `tag-${tag.name}` }, tag.name),
        prose(tag.description),
        ...list,
      ),
    );
  }
  const filter = document.querySelector("#filter");
  filter.addEventListener("input", () => narrow(filter.value));
  document.querySelector("#search").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", reveal);
  reveal();
}

function route(api, path, method, operation) {
  const made = element(
    "details",
    { class: "route", id: operation.operationId },
    element(
      "summary",
      {},
      element("span", { class: "method", "data-method": method }, method.toUpperCase()),
      element("span", { class: "path" }, path),
      element("span", { class: "summary" }, operation.summary ?? ""),
    ),
  );
  // Built when it is looked at: the page is quick even with many routes.
  made.addEventListener("toggle", () => {
    if (made.open && made.children.length === 1) {
      made.append(body(api, path, method, operation));
    }
  });
  return made;
}

function body(api, path, method, operation) {
  const parts = [];
  if (operation.description) {
    parts.push(prose(operation.description));
  }
  const credential = operation.security ? "Needs a credential: `Authorization: Bearer …` or `?token=…`." : "Needs no credential.";
  parts.push(prose(credential));
  if (operation.parameters?.length) {
    parts.push(element("h3", {}, "Parameters"), parameters(api, operation.parameters));
  }
  for (const [type, content] of Object.entries(operation.requestBody?.content ?? {})) {
    parts.push(element("h3", {}, "Body ", element("code", {}, type)));
    parts.push(prose(resolved(api, content.schema).description), fields(api, content.schema));
    if (content.example) {
      parts.push(element("pre", { tabindex: "0", "aria-label": "Example" }, JSON.stringify(content.example, null, 2)));
    }
  }
  parts.push(element("h3", {}, "Answers"), answers(api, operation.responses));
  const isSocket = operation.responses["101"] !== undefined;
  const isStream = operation.responses["200"]?.content?.["text/event-stream"] !== undefined;
  if (method === "get" && !isSocket && !isStream) {
    parts.push(element("h3", {}, "Try it"), trial(path, operation));
  }
  return element("div", { class: "body" }, ...parts);
}

function parameters(api, list) {
  const rows = list.map((parameter) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, element("code", {}, parameter.name)),
      element("td", {}, `${parameter.in}, ${typeName(api, parameter.schema ?? {})}${parameter.required ? ", required" : ""}`),
      element("td", {}, prose(parameter.description)),
    ),
  );
  return element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, ...rows)));
}

function answers(api, responses) {
  const rows = Object.entries(responses).map(([status, response]) => {
    const bodies = Object.entries(response.content ?? {}).map(([type, content]) => {
      const isFailure = content.schema?.$ref?.endsWith("/Failure");
      return element(
        "div",
        { class: "soft" },
        type,
        isFailure ? "" : fields(api, content.schema ?? {}),
      );
    });
    const headers = Object.keys(response.headers ?? {});
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, status),
      element(
        "td",
        {},
        prose(response.description),
        headers.length ? element("p", { class: "soft" }, `Headers: ${headers.join(", ")}`) : "",
        ...bodies,
      ),
    );
  });
  return element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, ...rows)));
}

function trial(path, operation) {
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const id = `${operation.operationId}-${parameter.name}`;
    const input = element("input", { id, autocomplete: "off" });
    input.required = parameter.in === "path";
    return { parameter, input, label: element("label", { for: id }, parameter.name) };
  });
  const answer = element("pre", { tabindex: "0", role: "status", hidden: "" });
  const form = element(
    "form",
    { class: "try" },
    ...inputs.flatMap(({ input, label }) => [label, input]),
    element("button", {}, `GET ${path}`),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.hidden = false;
    answer.textContent = "…";
    answer.textContent = await ask(path, inputs, Boolean(operation.security));
  });
  return element("div", {}, form, answer);
}

async function ask(path, inputs, needsCredential) {
  const query = new URLSearchParams();
  let filled = path.slice(1);
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") {
      filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (input.value) {
      query.set(parameter.name, input.value);
    }
  }
  const url = new URL(filled, gateway);
  url.search = query.toString();
  const token = document.querySelector("#token").value.trim();
  const headers = needsCredential && token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const response = await fetch(url, { headers, cache: "no-store" });
    const text = await response.text();
    return `HTTP ${response.status}\n\n${readable(text)}`;
  } catch (error) {
    return `There was no answer: ${error.message}`;
  }
}

function readable(text) {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // No JSON: shown as it came.
  }
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST)}\n…` : shown;
}

function narrow(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const section of routes.querySelectorAll("section")) {
    let left = 0;
    for (const one of section.querySelectorAll("details.route")) {
      const haystack = one.querySelector("summary").textContent.toLowerCase();
      one.hidden = !words.every((word) => haystack.includes(word));
      left += one.hidden ? 0 : 1;
    }
    section.hidden = left === 0;
    found += left;
  }
  state.textContent = words.length ? `${found} ${found === 1 ? "route" : "routes"}` : "";
}

function reveal() {
  const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted instanceof HTMLDetailsElement) {
    wanted.open = true;
    wanted.scrollIntoView();
  }
}
