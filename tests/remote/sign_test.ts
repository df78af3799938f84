import { assertEquals, assertThrows } from "@std/assert";
import { signingKey, trustedKey } from "../../lib/remote/sign.ts";
import { digestOf } from "../support/trees.ts";
import { test } from "../support/needs.ts";

/** Made by `openssl genpkey -algorithm ed25519`, for this test. */
const PRIVATE = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
`;
/** Of RFC 8410, section 10.3: the private key above with its public one. */
const WITH_PUBLIC = `-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
`;
const PUBLIC = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`;
const RAW = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
const KEY = { bucket: "bucket", key: "a key" };
const TREE = digestOf(new Uint8Array(9));

Deno.test("signingKey() signs what trustedKey() verifies, in all forms", async () => {
  for (
    const secret of [PRIVATE, WITH_PUBLIC, PRIVATE.replaceAll("\n", "\r\n")]
  ) {
    const signature = await signingKey(secret).sign(KEY, TREE);
    assertEquals(signature.length, 64);
    for (const known of [PUBLIC, RAW, `${RAW}\n`, `A comment\n${PUBLIC}`]) {
      const trusted = trustedKey(known);
      assertEquals(await trusted.verifies(signature, KEY, TREE), true);
    }
  }
});

Deno.test("trustedKey().verifies() is false for anything else", async () => {
  const signature = await signingKey(PRIVATE).sign(KEY, TREE);
  const trusted = trustedKey(PUBLIC);
  const { bucket, key } = KEY;
  for (
    const [other, tree] of [
      [{ bucket, key: "another key" }, TREE],
      [{ bucket: "other", key }, TREE],
      [{ bucket: "bucket\0a", key: "key" }, TREE],
      [KEY, { ...TREE, size: TREE.size + 1 }],
      [KEY, digestOf(new Uint8Array(8))],
    ] as const
  ) {
    assertEquals(await trusted.verifies(signature, other, tree), false);
  }
  for (let at = 0; at < 64; at += 7) {
    const wrong = signature.slice();
    wrong[at]! ^= 1;
    assertEquals(await trusted.verifies(wrong, KEY, TREE), false);
  }
  for (
    const wrong of [new Uint8Array(), new Uint8Array(64), new Uint8Array(65)]
  ) {
    assertEquals(await trusted.verifies(wrong, KEY, TREE), false);
  }
  const pair = await crypto.subtle.generateKey("Ed25519", true, [
    "sign",
    "verify",
  ]) as CryptoKeyPair;
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  const another = trustedKey(new Uint8Array(raw).toBase64());
  assertEquals(await another.verifies(signature, KEY, TREE), false);
});

Deno.test("signingKey() says what is no private key, and nothing of what is in it", async () => {
  const rsa = await crypto.subtle.generateKey(
    {
      name: "RSA-PSS",
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["sign", "verify"],
  ) as CryptoKeyPair;
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", rsa.privateKey);
  const body = new Uint8Array(pkcs8).toBase64();
  const label = (name: string) => PRIVATE.replaceAll("PRIVATE KEY", name);
  for (
    const [text, why] of [
      ["", "not PEM"],
      ["secret-secret-secret", "not PEM"],
      [RAW, "not PEM"],
      [PUBLIC, "a PUBLIC KEY"],
      [label("ENCRYPTED PRIVATE KEY"), "it is encrypted"],
      [label("OPENSSH PRIVATE KEY"), "an OPENSSH PRIVATE KEY"],
      [label("RSA PRIVATE KEY"), "RSA PRIVATE KEY"],
      [PRIVATE.replace("-----END PRIVATE KEY-----", ""), "damaged"],
      [PRIVATE.replace("MC4C", "MC4D"), "damaged"],
      [PRIVATE.replace("MC4C", "!!!!"), "damaged"],
      [
        `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----`,
        "of another kind",
      ],
    ] as const
  ) {
    const { message } = assertThrows(() => signingKey(text), TypeError, why);
    assertEquals(/\n|secret|MC4|5E1hK/.test(message), false, message);
  }
});

Deno.test("trustedKey() says what is no public key", () => {
  for (
    const [text, why] of [
      ["", "neither PEM nor"],
      ["abc", "neither PEM nor"],
      [RAW.slice(4), "neither PEM nor"],
      [PRIVATE, "it is a private key"],
      [PUBLIC.replace("MCow", "MCox"), "damaged"],
      [PUBLIC.replaceAll("PUBLIC KEY", "CERTIFICATE"), "of another kind"],
      ["/path/to/key.pub", "neither PEM nor"],
    ] as const
  ) {
    const { message } = assertThrows(() => trustedKey(text), TypeError, why);
    assertEquals(message.includes("\n"), false);
  }
});

test(
  "signingKey() and trustedKey() read what openssl makes",
  ["openssl"],
  async () => {
    const openssl = async (args: string[], input = "") => {
      const child = new Deno.Command("openssl", {
        args,
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(input));
      await writer.close();
      const { stdout } = await child.output();
      return new TextDecoder().decode(stdout);
    };
    const secret = await openssl(["genpkey", "-algorithm", "ed25519"]);
    const known = await openssl(["pkey", "-pubout"], secret);
    const signature = await signingKey(secret).sign(KEY, TREE);
    assertEquals(await trustedKey(known).verifies(signature, KEY, TREE), true);
  },
);
