/**
 * Who we are to a server, from all places where that may be said: headers, the URL, a
 * credential helper, netrc, AWS's variables. What is secret is in no error.
 *
 * @module
 */

import { RemoteError } from "./engine.ts";
import { askHelper } from "./helper_command.ts";
import { isLoopback } from "./loopback.ts";
import { findLogin } from "./netrc.ts";

/**
 * Where credentials come from.
 *
 * @category Remote
 */
export interface CredentialOptions {
  /**
   * Headers that are sent with each request: a text with a line `Name: value` for each, as
   * `REBUILD_CACHE_REMOTE_HEADER` has it.
   */
  headers?: string;
  /**
   * A program that is asked for headers by Bazel's protocol: `PROGRAM get`, with
   * `{"uri": …}` on stdin, prints `{"headers": {name: [value, …]}}` within 10 seconds.
   */
  credentialHelper?: string;
  /** The text of a netrc file: its user and password are sent to a machine that it names. */
  netrc?: string;
  /** For `s3:`. See {@linkcode awsOf}. */
  aws?: AwsOptions;
}

/**
 * Who one is on S3.
 *
 * @category Remote
 */
export interface AwsOptions {
  /** `AWS_ACCESS_KEY_ID`. */
  accessKeyId?: string;
  /** `AWS_SECRET_ACCESS_KEY`. */
  secretAccessKey?: string;
  /** `AWS_SESSION_TOKEN`: of keys that are for a while. */
  sessionToken?: string;
  /** Where the bucket is, if its URL does not say it. */
  region?: string;
  /** A command line that prints them: `credential_process` of AWS's configuration. */
  credentialProcess?: string;
}

/** Keys for S3. */
export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Who we are to a server. */
export interface Credentials {
  /** What is sent with each request. May run a program. */
  headers(signal: AbortSignal): Promise<Record<string, string>>;
  /** Keys for S3, if there are any. May run a program. */
  aws(signal: AbortSignal): Promise<AwsKeys | undefined>;
  /** A text without what is secret. */
  scrub(text: string): string;
}

/**
 * Looks for credentials.
 *
 * @param url Where they go; for S3 its endpoint.
 * @throws {TypeError} If one can't be sent, or would go to another machine in clear text.
 */
export function credentialsFor(
  url: URL,
  { headers = "", credentialHelper, netrc, aws }: CredentialOptions,
): Credentials {
  const given = parseHeaders(headers);
  const isS3 = aws !== undefined;
  const login = isS3 ? undefined : userOf(url) ??
    (netrc === undefined ? undefined : findLogin(netrc, bare(url.hostname)));
  const program = isS3 ? undefined : credentialHelper;
  const any = Object.keys(given).length > 0 || login || program !== undefined ||
    aws?.accessKeyId !== undefined || aws?.credentialProcess !== undefined;
  if (any && !isPrivate(url)) {
    throw new TypeError(
      `Credentials are not sent to ${url.hostname} in clear text: use ${
        url.protocol === "grpc:" ? "grpcs" : "https"
      }`,
    );
  }
  if (program === "") throw new TypeError("credentialHelper must not be empty");
  const secrets = new Secrets();
  for (const value of Object.values(given)) secrets.add(value);
  // A token, or anything else.
  for (const value of url.searchParams.values()) secrets.add(value);
  if (login) {
    secrets.add(login.password);
    if (!given.authorization) given.authorization = basic(login);
    secrets.add(given.authorization);
  }
  return {
    async headers(signal) {
      if (program === undefined || given.authorization) return given;
      const helped = await askForHeaders(program, url, signal);
      for (const value of Object.values(helped)) secrets.add(value);
      return { ...helped, ...given };
    },
    async aws(signal) {
      const keys = aws && await awsKeysOf(aws, signal);
      secrets.add(keys?.secretAccessKey);
      secrets.add(keys?.sessionToken);
      return keys;
    },
    scrub: (text) => secrets.scrub(text),
  };
}

/**
 * What AWS's variables say: `AWS_ACCESS_KEY_ID` and the like.
 *
 * @param variable Gives a variable of the environment.
 *
 * @category Remote
 */
export function awsOf(
  variable: (name: string) => string | undefined,
): AwsOptions {
  const found: AwsOptions = {};
  const names: [keyof AwsOptions, ...string[]][] = [
    ["accessKeyId", "AWS_ACCESS_KEY_ID"],
    ["secretAccessKey", "AWS_SECRET_ACCESS_KEY"],
    ["sessionToken", "AWS_SESSION_TOKEN"],
    ["region", "AWS_REGION", "AWS_DEFAULT_REGION"],
  ];
  for (const [option, ...variables] of names) {
    const value = variables.map(variable).find((it) => it);
    if (value) found[option] = value;
  }
  return found;
}

/** Whether nobody else hears what is sent there. */
function isPrivate({ protocol, hostname }: URL): boolean {
  return protocol === "https:" || protocol === "grpcs:" || isLoopback(hostname);
}

/** Without the brackets of an IPv6 address. */
function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}

function parseHeaders(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  text.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === "") return;
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).trim();
    const value = line.slice(colon + 1).trim();
    if (!isHeader(name, value)) {
      throw new TypeError(`Line ${index + 1} of headers is no "Name: value"`);
    }
    headers[name.toLowerCase()] = value;
  });
  return headers;
}

function isHeader(name: string, value: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) &&
    /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}

function userOf({ username, password }: URL) {
  if (username === "" && password === "") return undefined;
  return { login: decoded(username), password: decoded(password) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a % that means itself
  }
}

function basic({ login, password }: { login: string; password: string }) {
  const bytes = new TextEncoder().encode(`${login}:${password}`);
  return `Basic ${bytes.toBase64()}`;
}

async function askForHeaders(
  program: string,
  url: URL,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const uri = new URL(url);
  uri.username = uri.password = "";
  const what = "the credential helper";
  const input = JSON.stringify({ uri: uri.href });
  const answer = await askHelper(
    { what, program, args: ["get"], input },
    signal,
  );
  const { headers = {} } = answer as { headers?: unknown };
  if (typeof headers !== "object" || headers === null) throw noHeaders();
  const found: Record<string, string> = {};
  for (const [name, values] of Object.entries(headers)) {
    const isList = Array.isArray(values) &&
      values.every((it) => typeof it === "string");
    const value = isList ? values.join(", ") : "";
    if (!isList || !isHeader(name, value)) throw noHeaders();
    found[name.toLowerCase()] = value;
  }
  return found;
}

function noHeaders(): RemoteError {
  return new RemoteError(
    "refused",
    "the credential helper printed headers that are none",
  );
}

async function awsKeysOf(
  { accessKeyId, secretAccessKey, sessionToken, credentialProcess }: AwsOptions,
  signal: AbortSignal,
): Promise<AwsKeys | undefined> {
  if (accessKeyId && secretAccessKey) {
    return {
      accessKeyId,
      secretAccessKey,
      ...sessionToken && { sessionToken },
    };
  }
  if (!credentialProcess) return undefined;
  const [program = "", ...args] = splitLine(credentialProcess);
  const what = "credential_process";
  const answer: { [name: string]: unknown } = {
    ...await askHelper({ what, program, args }, signal),
  };
  const { AccessKeyId: id, SecretAccessKey: secret, SessionToken: token } =
    answer;
  if (typeof id !== "string" || typeof secret !== "string" || !id || !secret) {
    throw new RemoteError("refused", "credential_process printed no keys");
  }
  const isToken = typeof token === "string" && token !== "";
  const keys = { accessKeyId: id, secretAccessKey: secret };
  return { ...keys, ...isToken && { sessionToken: token } };
}

/** A command line as AWS's tools take it apart: by blanks, but for what is in quotes. */
function splitLine(line: string): string[] {
  const words = line.matchAll(/(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+/g);
  return [...words].map(([word]) =>
    word.replaceAll(
      /"((?:[^"\\]|\\.)*)"|'([^']*)'/g,
      (_, double, single) => single ?? double.replaceAll(/\\(["\\])/g, "$1"),
    )
  );
}

/** What must not be seen. Very short ones would be found everywhere. */
class Secrets {
  readonly #known = new Set<string>();

  add(secret: string | undefined): void {
    if (secret === undefined) return;
    for (const part of [secret, secret.replace(/^\w+ /, "")]) {
      if (part.length < 4) continue;
      this.#known.add(part);
      this.#known.add(encodeURIComponent(part));
    }
  }

  scrub(text: string): string {
    // The longest first: one may be in another.
    const known = [...this.#known].sort((a, b) => b.length - a.length);
    return known.reduce((rest, it) => rest.replaceAll(it, "…"), text);
  }
}
