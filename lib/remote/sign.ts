/**
 * Signatures of entries: who trusts a public key needs no trust in the server.
 *
 * What is signed (Ed25519): `rebuild-cache/1`, the bucket, the key, and the tree's digest
 * with its size. The tree has the digests of all else.
 *
 * @module
 */

import type { RemoteKey } from "../cache/remote.ts";
import type { Digest } from "./engine.ts";

/** A private key, read but not yet used. */
export interface SigningKey {
  sign(key: RemoteKey, tree: Digest): Promise<Uint8Array<ArrayBuffer>>;
}

/** A public key. */
export interface TrustedKey {
  verifies(
    signature: Uint8Array<ArrayBuffer>,
    key: RemoteKey,
    tree: Digest,
  ): Promise<boolean>;
}

/** In hexadecimal digits: what is before the 32 bytes of a key, in PKCS#8 and in SPKI. */
const PKCS8 = "302e020100300506032b657004220420";
const SPKI = "302a300506032b6570032100";

/** PKCS#8 as others write it: a public key, or attributes, may follow. */
const PRIVATE =
  /^30(?:[0-7].)0201(?:00|01)300506032b657004220420([0-9a-f]{64})/;

/** Why one may have no such key, and how one gets it. */
const HOW = "openssl genpkey -algorithm ed25519";

/**
 * Reads a private key: a PEM text, PKCS#8.
 *
 * @throws {TypeError} If it is none. What it is instead is said, but nothing of what is in it.
 */
export function signingKey(text: string): SigningKey {
  const isPem = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(text);
  if (!isPem) throw noKey("private", "it is not PEM");
  const label = isPem[1]!;
  if (label !== "PRIVATE KEY") {
    const why = label === "ENCRYPTED PRIVATE KEY"
      ? "it is encrypted"
      : `it is PEM of ${/^[AEIOU]/.test(label) ? "an" : "a"} ${label}`;
    throw noKey("private", why);
  }
  const seed = PRIVATE.exec(derOf(text, label) ?? "")?.[1];
  if (seed === undefined) {
    throw noKey("private", "it is of another kind, or damaged");
  }
  const imported = once(() =>
    crypto.subtle.importKey("pkcs8", bytesOf(PKCS8 + seed), "Ed25519", false, [
      "sign",
    ])
  );
  return {
    async sign(key, tree) {
      const signed = await crypto.subtle.sign(
        "Ed25519",
        await imported(),
        signedText(key, tree),
      );
      return new Uint8Array(signed);
    },
  };
}

/**
 * Reads a public key: a PEM text (SPKI), or its 32 bytes in base64.
 *
 * @throws {TypeError} If it is none.
 */
export function trustedKey(text: string): TrustedKey {
  const key = publicKeyOf(text);
  const imported = once(() =>
    crypto.subtle.importKey("raw", bytesOf(key), "Ed25519", true, ["verify"])
  );
  return {
    async verifies(signature, key, tree) {
      if (signature.length !== 64) return false;
      return await crypto.subtle.verify(
        "Ed25519",
        await imported(),
        signature,
        signedText(key, tree),
      );
    },
  };
}

/** The public key of a private one is no help: it is asked for by name. */
function publicKeyOf(text: string): string {
  const label = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(text)?.[1];
  if (label?.endsWith("PRIVATE KEY")) {
    throw noKey(
      "public",
      "it is a private key, which is nobody else's business",
    );
  }
  if (label === undefined) {
    const raw = hexOf(text.trim());
    if (raw?.length === 64) return raw;
    throw noKey("public", "it is neither PEM nor 32 bytes in base64");
  }
  const der = derOf(text, label) ?? "";
  if (label === "PUBLIC KEY" && der.startsWith(SPKI)) {
    const raw = der.slice(SPKI.length);
    if (raw.length === 64) return raw;
  }
  throw noKey("public", "it is of another kind, or damaged");
}

function noKey(which: "private" | "public", why: string): TypeError {
  const form = which === "private"
    ? `in PEM (PKCS#8), as "${HOW}" makes it`
    : `in PEM (SPKI), as "openssl pkey -pubout" gives it, or in base64`;
  return new TypeError(
    `This is no ${which} Ed25519 key: ${why}. It must be ${form}`,
  );
}

/** What is in a PEM text, in hexadecimal digits. */
function derOf(text: string, label: string): string | undefined {
  const [, rest = ""] = text.split(`-----BEGIN ${label}-----`);
  const [body, end] = rest.split(`-----END ${label}-----`);
  return end === undefined ? undefined : hexOf(body!.replaceAll(/\s/g, ""));
}

function hexOf(base64: string): string | undefined {
  try {
    return Uint8Array.fromBase64(base64).toHex();
  } catch {
    return undefined;
  }
}

function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(hex);
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => made ??= make();
}

/** Neither a bucket nor a digest has a NUL, so no two of them give one text. */
function signedText(
  { bucket, key }: RemoteKey,
  { hash, size }: Digest,
): Uint8Array<ArrayBuffer> {
  const text = ["rebuild-cache/1", bucket, key, `${hash}/${size}`].join("\0");
  return new TextEncoder().encode(text);
}
