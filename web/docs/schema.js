// Schemas of the description as elements.

/** An element with attributes and children; strings become text, never HTML. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== ""));
  return made;
}

/** Text in which `code` is set as code. */
export function prose(text = "") {
  const parts = text.split("`");
  return element("p", {}, ...parts.map((part, at) => (at % 2 ? element("code", {}, part) : part)));
}

/** What a `$ref` names; anything else is itself. */
export function resolved(api, schema) {
  let found = schema;
  for (let depth = 0; found?.$ref && depth < 8; depth++) {
    found = found.$ref.split("/").slice(1).reduce((at, key) => at?.[key], api);
  }
  return found ?? {};
}

/** A schema in a word: its type, its name, its values. */
export function typeName(api, schema) {
  if (schema.$ref) {
    return schema.$ref.split("/").pop();
  }
  const either = schema.oneOf ?? schema.anyOf;
  if (either) {
    return either.map((one) => typeName(api, one)).join(" or ");
  }
  if (schema.enum) {
    return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  }
  const types = [schema.type ?? "anything"].flat();
  return types
    .map((type) => (type === "array" ? `list of ${typeName(api, schema.items ?? {})}` : type))
    .join(" or ");
}

/** The fields of an object, with those inside it. */
export function fields(api, schema, depth = 0) {
  const shape = inner(api, schema);
  const names = Object.entries(shape.properties ?? {});
  if (names.length === 0 || depth > 4) {
    return undefined;
  }
  const items = names.map(([name, field]) =>
    element(
      "li",
      {},
      element("code", {}, name),
      " ",
      element("span", { class: "soft" }, typeName(api, field) + limits(field)),
      (shape.required ?? []).includes(name) ? element("span", { class: "required" }, " required") : "",
      field.description ? prose(field.description) : "",
      fields(api, field, depth + 1),
    ),
  );
  return element("ul", { class: "schema" }, ...items);
}

function inner(api, schema) {
  const either = schema.oneOf ?? schema.anyOf;
  const shape = resolved(api, either ? either.find((one) => one.type !== "null") : schema);
  return [shape.type].flat().includes("array") ? resolved(api, shape.items ?? {}) : shape;
}

function limits(schema) {
  const { minimum, maximum, minLength, maxLength } = schema;
  const range = (from, to, unit) => `, ${from ?? "…"} to ${to ?? "…"}${unit}`;
  return [
    minimum !== undefined || maximum !== undefined ? range(minimum, maximum, "") : "",
    minLength !== undefined || maxLength !== undefined ? range(minLength, maxLength, " characters") : "",
  ].join("");
}
