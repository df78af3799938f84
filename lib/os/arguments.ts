/**
 * Checks what a program gave to the library: a slip is an error that says what was
 * given, before anything is done. What is `undefined` was not given.
 *
 * @module
 */

/** Refuses what is no object with options. */
export function checkOptions(options: unknown, name = "options"): void {
  const isList = Array.isArray(options);
  if (typeof options === "object" && options !== null && !isList) return;
  throw new TypeError(`${name} must be an object, not ${given(options)}`);
}

/** Refuses a word that is not one of those that an option may be. */
export function checkChoice(
  name: string,
  value: unknown,
  choices: readonly string[],
): void {
  if (value === undefined || choices.includes(value as string)) return;
  const words = choices.map((it) => JSON.stringify(it)).join(", ");
  throw new TypeError(`${name} must be one of ${words}, not ${given(value)}`);
}

/** Refuses what is no number, or less than the least that it may be. */
export function checkNumber(name: string, value: unknown, least: number): void {
  if (value === undefined) return;
  if (typeof value !== "number") {
    throw new TypeError(`${name} must be a number, not ${given(value)}`);
  }
  if (value >= least) return; // NaN is not
  throw new RangeError(`${name} must be ${least} or more, not ${value}`);
}

/** Refuses what is no count: no whole number, or less than 0. `Infinity` is one. */
export function checkCount(name: string, value: unknown): void {
  checkNumber(name, value, 0);
  if (value === undefined || value === Infinity) return;
  if (Number.isInteger(value)) return;
  throw new RangeError(`${name} must be a whole number, not ${value}`);
}

/** Refuses what is of another type. */
export function checkType(
  name: string,
  value: unknown,
  type: "boolean" | "function" | "string",
): void {
  if (value !== undefined) checkGiven(name, value, type);
}

/** Refuses what was not given, or is of another type. */
export function checkGiven(
  name: string,
  value: unknown,
  type: "boolean" | "function" | "string",
): void {
  const is: string = typeof value;
  if (is === type) return;
  throw new TypeError(`${name} must be a ${type}, not ${given(value)}`);
}

/** Refuses what is no array of texts. */
export function checkTexts(name: string, value: unknown): void {
  if (value === undefined) return;
  const wrong = Array.isArray(value)
    ? value.find((it) => typeof it !== "string")
    : value;
  if (wrong === undefined) return;
  throw new TypeError(
    `${name} must be an array of strings, not ${given(wrong)}`,
  );
}

/** Refuses what has not the methods of an object that is called back. */
export function checkMethods(
  name: string,
  value: unknown,
  methods: readonly string[],
): void {
  if (typeof value !== "object" && typeof value !== "function" || !value) {
    throw new TypeError(`${name} must be an object, not ${given(value)}`);
  }
  for (const method of methods) {
    const is: unknown = Reflect.get(value, method);
    checkGiven(`${name}.${method}`, is, "function");
  }
}

/** Refuses what is no path: neither a text with something in it, nor a `file:` URL. */
export function checkPath(name: string, value: unknown): void {
  const isUrl = value instanceof URL && value.protocol === "file:";
  if (isUrl || (typeof value === "string" && value !== "")) return;
  throw new TypeError(
    `${name} must be a path or a file: URL, not ${given(value)}`,
  );
}

/** Refuses what can't stop anything. */
export function checkSignal(value: unknown): void {
  if (value === undefined || value instanceof AbortSignal) return;
  throw new TypeError(`signal must be an AbortSignal, not ${given(value)}`);
}

/** What was given, in a few characters. */
function given(value: unknown): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > 50 ? `${value.slice(0, 50)}…` : value);
  }
  if (value instanceof URL) return `"${value.href.slice(0, 50)}"`;
  if (typeof value === "object" && value !== null) {
    return `a ${value.constructor?.name ?? "object"}`;
  }
  return typeof value === "function" ? "a function" : String(value);
}
