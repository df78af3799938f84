/**
 * What a remote is opened with.
 *
 * @module
 */

import {
  checkChoice,
  checkNumber,
  checkOptions,
  checkPath,
  checkTexts,
  checkType,
} from "../os/arguments.ts";
import { toPath } from "../os/path.ts";
import {
  type CredentialOptions,
  type Credentials,
  credentialsFor,
} from "./credentials.ts";
import type { EngineOptions } from "./engine.ts";
import { isLoopback } from "./loopback.ts";
import {
  type SigningKey,
  signingKey,
  type TrustedKey,
  trustedKey,
} from "./sign.ts";

/**
 * How a remote is opened.
 *
 * @category Remote
 */
export interface RemoteOptions extends CredentialOptions {
  /**
   * Whether it may be written. `read-write` is for who is trusted by all that read: for
   * builds of the main branch, and not of anybody's pull request.
   *
   * @default {"read"}
   */
  mode?: "read" | "read-write";
  /**
   * Allows `http:` and `grpc:` to another machine: whoever is between can read all, and
   * change what is not signed. Credentials are never sent that way.
   *
   * @default {false}
   */
  insecure?: boolean;
  /** PEM: authorities that are trusted besides the system's. */
  ca?: string;
  /** PEM: the client's own certificate. It needs its `key`. */
  cert?: string;
  /** PEM: the private key of `cert`. */
  key?: string;
  /** PEM (PKCS#8): an Ed25519 private key, with which all that is pushed is signed. */
  sign?: string;
  /**
   * Ed25519 public keys: PEM (SPKI), or 32 bytes in base64. Nothing is pulled that none of
   * them has signed. None: everything is trusted.
   */
  trust?: readonly string[];
  /**
   * A folder where a process leaves notes for the next: that the server was down a moment
   * ago, and which keys have lost something. It is made if it is missing; what it is in
   * must be there. Without it nothing is noted.
   */
  folder?: string | URL;
  /**
   * Milliseconds until a connection must stand.
   *
   * @default {2000}
   */
  connectTimeout?: number;
  /**
   * Milliseconds that may pass without a byte. How long it takes in all is not limited.
   *
   * @default {10000}
   */
  idleTimeout?: number;
}

/**
 * By which protocol a server is asked.
 *
 * @category Remote
 */
export type RemoteKind = "http" | "s3" | "grpc";

/** Options that were checked. */
export interface Settings {
  readonly kind: RemoteKind;
  /** Without user and password. */
  readonly url: URL;
  /** For people: without user, password and query. */
  readonly name: string;
  readonly mode: "read" | "read-write";
  readonly credentials: Credentials;
  readonly region?: string;
  /** Without headers, which may have to be asked for. */
  readonly engine: EngineOptions;
  readonly signing?: SigningKey;
  readonly trusted: readonly TrustedKey[];
  readonly folder?: string;
}

const KINDS: { readonly [protocol: string]: RemoteKind } = {
  "http:": "http",
  "https:": "http",
  "s3:": "s3",
  "grpc:": "grpc",
  "grpcs:": "grpc",
};

/**
 * Checks what a remote is opened with.
 *
 * @throws {TypeError} In one line, without anything that is secret.
 */
export function settingsOf(
  address: string | URL,
  options: RemoteOptions,
): Settings {
  checkTypes(options);
  const { mode = "read", ca, cert, key, sign, trust = [], folder } = options;
  const { connectTimeout, idleTimeout } = options;
  const given = parse(address);
  const kind = KINDS[given.protocol]!;
  const isS3 = kind === "s3";
  if (isS3 && (given.username !== "" || given.password !== "")) {
    throw new TypeError(
      "The user of an s3: URL is not used: its keys are options",
    );
  }
  const reached = isS3 ? endpointOf(given) : given;
  checkClear(reached, options);
  const { aws, ...rest } = options;
  const credentials = credentialsFor(
    reached,
    isS3 ? { ...rest, aws: aws ?? {} } : rest,
  );
  const url = new URL(given);
  url.username = url.password = "";
  const engine: EngineOptions = {
    ...ca !== undefined && { ca },
    ...cert !== undefined && { cert },
    ...key !== undefined && { key },
    ...connectTimeout !== undefined && { connectTimeout },
    ...idleTimeout !== undefined && { idleTimeout },
  };
  return {
    kind,
    url,
    name: `${url.protocol}//${url.host}${url.pathname.replace(/\/$/, "")}`,
    mode,
    credentials,
    ...aws?.region !== undefined && { region: aws.region },
    engine,
    ...sign !== undefined && { signing: named("sign", () => signingKey(sign)) },
    trusted: trust.map((it) => named("trust", () => trustedKey(it))),
    ...folder !== undefined && { folder: toPath(folder) },
  };
}

function checkTypes(options: RemoteOptions): void {
  checkOptions(options);
  const { mode, insecure, aws, cert, key, trust, folder } = options;
  checkChoice("mode", mode, ["read", "read-write"]);
  checkType("insecure", insecure, "boolean");
  for (const name of ["ca", "cert", "key"] as const) {
    checkText(name, options[name]);
    if (options[name]?.includes("-----BEGIN ") === false) {
      throw new TypeError(`${name} must be a PEM text`);
    }
  }
  for (const name of ["headers", "netrc", "sign"] as const) {
    checkText(name, options[name]);
  }
  checkType("credentialHelper", options.credentialHelper, "string");
  if (aws !== undefined) {
    checkOptions(aws, "aws");
    for (const [name, value] of Object.entries(aws)) {
      checkText(`aws.${name}`, value);
    }
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new TypeError("cert and key must be given together");
  }
  checkTexts("trust", trust);
  if (folder !== undefined) checkPath("folder", folder);
  checkNumber("connectTimeout", options.connectTimeout, 1);
  checkNumber("idleTimeout", options.idleTimeout, 1);
}

/** Refuses what is no text, and does not say what it is: it may be secret. */
function checkText(name: string, value: unknown): void {
  if (value === undefined || typeof value === "string") return;
  throw new TypeError(`${name} must be a string`);
}

/** An error of the parser would have the whole URL in it. */
function parse(address: unknown): URL {
  const isText = typeof address === "string";
  if (!isText && !(address instanceof URL)) {
    throw new TypeError("url must be a string or a URL");
  }
  const url = isText && !URL.canParse(address) ? undefined : new URL(address);
  if (url === undefined || !Object.hasOwn(KINDS, url.protocol)) {
    const what = url === undefined
      ? "which this is not"
      : `not ${url.protocol}`;
    throw new TypeError(
      `url must be a URL with https:, grpcs:, s3:, http: or grpc:, ${what}`,
    );
  }
  if (url.hostname === "") {
    const what = url.protocol === "s3:" ? "a bucket" : "a host";
    throw new TypeError(`url must have ${what}: ${url.protocol}//…`);
  }
  if (url.hash !== "") throw new TypeError("url must have no fragment (#…)");
  return url;
}

/** Where the requests for a bucket go. */
function endpointOf(url: URL): URL {
  const endpoint = url.searchParams.get("endpoint");
  if (!endpoint) return new URL("https://s3.amazonaws.com");
  // Without a protocol it is https.
  const text = endpoint.includes("://") ? endpoint : `https://${endpoint}`;
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (parsed && /^https?:$/.test(parsed.protocol) && parsed.username === "") {
    return parsed;
  }
  throw new TypeError("The endpoint of an s3: URL must be a URL with https:");
}

function checkClear(
  { protocol, hostname }: URL,
  { insecure = false }: RemoteOptions,
): void {
  const isClear = protocol === "http:" || protocol === "grpc:";
  if (!isClear || insecure || isLoopback(hostname)) return;
  const better = protocol === "http:" ? "https" : "grpcs";
  throw new TypeError(
    `${hostname} is another machine, and ${protocol} is clear text: use ${better}, or allow it (insecure)`,
  );
}

function named<T>(option: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new TypeError(`${option}: ${error.message}`);
  }
}
