/** What a hostile or broken server can do to a machine: nothing but a miss. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  actionOf,
  encodeResult,
  type KeyResult,
  type Layout,
} from "../../lib/remote/action.ts";
import { DirectorySchema, TreeSchema } from "../../lib/remote/messages_pb.ts";
import { openCache } from "../../lib/cache/cache.ts";
import type { RemoteReport, RemoteServer } from "../../lib/cache/remote.ts";
import { HttpCache } from "../support/http_cache.ts";
import { Machine } from "../support/machine.ts";
import { test } from "../support/needs.ts";
import { startBazelRemote, startNginx } from "../support/servers.ts";
import { TempDir } from "../support/temp_dir.ts";
import { digestOf } from "../support/trees.ts";
import { exists } from "../support/until.ts";

type Directory = MessageInitShape<typeof DirectorySchema>;
type Bytes = Uint8Array<ArrayBuffer>;

const KEY = { bucket: "default", key: "k" };
const EVIL = new TextEncoder().encode("evil");

/** Puts something on a server that checks nothing. */
type Put = (path: string, bytes: Bytes) => Promise<void>;

function putTo(url: string): Put {
  return async (path, body) => {
    const response = await fetch(`${url}/${path}`, { method: "PUT", body });
    await response.body?.cancel();
    assert(response.ok, path);
  };
}

/** What to make of an entry. */
interface Crafted {
  tree: Bytes;
  packs?: Bytes[];
  files?: Bytes[];
  signature?: Bytes;
}

function file(name: string, content: Bytes = EVIL) {
  const { hash, size } = digestOf(content);
  return { name, digest: { hash, sizeBytes: BigInt(size) } };
}

function bytesOf(directory: Directory): Bytes {
  return toBinary(DirectorySchema, create(DirectorySchema, directory));
}

function treeOf(root: Directory, children: Directory[] = []): Bytes {
  return toBinary(TreeSchema, create(TreeSchema, { root, children }));
}

/** A tree of some kilobytes that says that it has 2^40 files. */
function bomb(): Bytes {
  let last: Directory = { files: [file("f")] };
  const children = [last];
  for (let at = 0; at < 40; at++) {
    const { digest } = file("", bytesOf(last));
    last = { directories: ["a", "b"].map((name) => ({ name, digest })) };
    children.unshift(last);
  }
  return treeOf(children[0]!, children.slice(1));
}

async function craft(
  put: Put,
  layout: Layout,
  { tree, packs = [EVIL], files = [], signature }: Crafted,
): Promise<void> {
  const action = actionOf(KEY, layout);
  const blobs = action.uploads.map(({ content }) => content!);
  for (const it of [...blobs, tree, ...packs, ...files]) {
    await put(`cas/${digestOf(it).hash}`, it);
  }
  const result: KeyResult = {
    tree: digestOf(tree),
    packs: layout === "packs" ? packs.map(digestOf) : [],
    files: layout === "packs" ? files.map(digestOf) : [],
    ...signature && { signature },
  };
  await put(`ac/${action.digest.hash}`, encodeResult(result, layout));
}

/** Trees that would do harm if they were made. */
const TREES: { [what: string]: () => Bytes } = {
  "a file named ..": () => treeOf({ files: [file("..")] }),
  "a file above it": () => treeOf({ files: [file("../evil")] }),
  "a file that is elsewhere": () => treeOf({ files: [file("/tmp/evil")] }),
  "a link named /": () => treeOf({ symlinks: [{ name: "/", target: "x" }] }),
  "a directory above it": () => {
    const inner = { files: [file("evil")] };
    const { digest } = file("", bytesOf(inner));
    return treeOf({ directories: [{ name: "..", digest }] }, [inner]);
  },
  "a link and a directory of one name": () => {
    const inner = { files: [file("evil")] };
    const { digest } = file("", bytesOf(inner));
    return treeOf({
      symlinks: [{ name: "a", target: ".." }],
      directories: [{ name: "a", digest }],
    }, [inner]);
  },
  "two files of one name": () => treeOf({ files: [file("a"), file("a")] }),
  "2^40 files": bomb,
  "no tree": () => crypto.getRandomValues(new Uint8Array(300)),
};

/** All paths below, but for those of caches and what was built. */
function pathsIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (["root", "root.lock", "out"].includes(name)) return [];
    return isDirectory ? [path, ...pathsIn(path)] : [path];
  }).sort();
}

/**
 * Builds, and gets, with a server that has nothing good: both do what they do without it,
 * and say so in a line.
 */
async function assertHarmless(
  dir: TempDir,
  url: string,
  what: string,
  { outcome = "refused", more = [], env = {} }: {
    outcome?: "refused" | "miss";
    more?: string[];
    env?: Record<string, string>;
  } = {},
): Promise<void> {
  const share = ["--remote", url, ...more];
  const number = [...Deno.readDirSync(dir.path)].length;
  const machine = new Machine(dir, `machine ${number}`, env);
  const before = pathsIn(dir.path);
  const got = await machine.run("get", "--json", ...share, "k", "out");
  assertEquals(got.code, 4, `${what}: ${got.stderr}`);
  assertEquals(got.json.result.remote.outcome, outcome, what);
  const warns = (lines: readonly string[]) =>
    lines.filter((it) => it.includes("warning: "));
  const expected = outcome === "refused" ? 1 : 0;
  assertEquals(warns(got.said).length, expected, `${what}: ${got.stderr}`);
  // And one that says that it is not there.
  assertEquals(got.said.length, expected + 1, `${what}: ${got.stderr}`);
  assert(!exists(machine.at("out")), what);
  const built = await machine.run(
    "ensure",
    "--json",
    ...share,
    "k",
    machine.at("out"),
    "--",
    "sh",
    "-c",
    'echo good >"$1/good"',
    "sh",
    "{}",
  );
  assertEquals(built.code, 0, `${what}: ${built.stderr}`);
  assertEquals(built.json.result.outcome, "built", what);
  assertEquals(built.json.result.remote.outcome, outcome, what);
  assertEquals(built.said.length, expected, `${what}: ${built.stderr}`);
  assertEquals(warns(built.said).length, expected, what);
  for (const line of warns([...got.said, ...built.said])) {
    // It is said where it came from, and why.
    assertMatch(line, /Going on without the remote \w+:\/\/127\.0\.0\.1:\d+/);
  }
  assertEquals([...Deno.readDirSync(machine.at("out"))].map((it) => it.name), [
    "good",
  ]);
  assertEquals(pathsIn(dir.path), before, what);
  assertEquals(machine.leftovers(), [], what);
  assert(!exists("/tmp/evil"));
  const { entries } = await machine.done("ls");
  assertEquals(entries.length, 1, what);
  assertEquals((await machine.run("verify")).code, 0, what);
}

test("nginx, which checks nothing, does no harm by what somebody put there", [
  "posix",
  "nginx",
], async () => {
  await using dir = TempDir.make();
  await using server = await startNginx();
  const put = putTo(server.url);
  for (const [what, make] of Object.entries(TREES)) {
    await craft(put, "packs", { tree: make() });
    await assertHarmless(dir, server.url, what);
  }
});

test("bazel-remote does no harm by what somebody put there", [
  "posix",
  "bazel-remote",
], async () => {
  await using dir = TempDir.make();
  await using server = await startBazelRemote();
  const put = putTo(server.http);
  for (const [what, make] of Object.entries(TREES)) {
    if (what === "no tree") continue; // it looks into the tree, and has no entry then
    await craft(put, "files", { tree: make() });
    await assertHarmless(dir, server.grpc, what);
  }
});

test("nginx does no harm by wrong bytes, less of them, and what is no entry", [
  "posix",
  "nginx",
], async () => {
  await using dir = TempDir.make();
  await using server = await startNginx();
  const put = putTo(server.url);
  const text = (it: string) => new TextEncoder().encode(it);
  const large = new Uint8Array(3 << 20).fill(7);
  const tree = treeOf({
    files: [file("f"), file("large", large), file("other", text("other"))],
  });
  const packs = [text("evilother")];
  const whole = { tree, packs, files: [large] };
  const pack = `cas/${digestOf(packs[0]!).hash}`;
  const big = `cas/${digestOf(large).hash}`;
  const changed = large.slice();
  changed[changed.length - 1] = 8;
  const wrong: [what: string, path: string, bytes: Bytes][] = [
    ["a pack of other bytes", pack, text("goodother")],
    ["a pack of which the end is wrong", pack, text("evilOTHER")],
    ["a pack that is cut", pack, text("evil")],
    ["a pack that is longer", pack, text("evilother and more")],
    ["a file of other bytes", big, changed],
    ["a file that is cut", big, large.slice(0, 2 << 20)],
    ["a file that is longer", big, new Uint8Array(4 << 20).fill(7)],
    ["a tree of other bytes", `cas/${digestOf(tree).hash}`, text("tree")],
    [
      "a tree of as many bytes",
      `cas/${digestOf(tree).hash}`,
      treeOf({
        files: [file("F"), file("large", large), file("other", text("other"))],
      }),
    ],
  ];
  for (const [what, path, bytes] of wrong) {
    await craft(put, "packs", whole);
    await put(path, bytes);
    await assertHarmless(dir, server.url, what);
  }
  const entry = `ac/${actionOf(KEY, "packs").digest.hash}`;
  const page = text("<!doctype html><html><body>Log in</body></html>");
  const noise = crypto.getRandomValues(new Uint8Array(300));
  for (
    const [what, bytes] of [["noise", noise], ["a page", page], [
      "nothing",
      new Uint8Array(),
    ]] as const
  ) {
    await put(entry, bytes);
    await assertHarmless(dir, server.url, `${what} as an entry`);
  }
});

test(
  "A login page, and a redirect to another host, get no credentials and do no harm",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    await using server = new HttpCache(dir.at("server"));
    await using other = new HttpCache(dir.at("other"));
    const env = { REBUILD_CACHE_REMOTE_HEADER: "X-Token: the-token" };
    const tokens: (string | null)[] = [];
    const page = () =>
      new Response("<html>Log in</html>", {
        headers: { "content-type": "text/html; charset=utf-8" },
      });
    server.answer = (request) => {
      tokens.push(request.headers.get("x-token"));
      return page();
    };
    await assertHarmless(dir, server.url, "a login page", { env });
    assertEquals(new Set(tokens), new Set(["the-token"]));
    for (const status of [301, 302, 307, 308]) {
      for (const host of ["127.0.0.1", "localhost"]) {
        const to = new URL(other.url);
        to.hostname = host;
        server.answer = (_, path) =>
          new Response(null, {
            status,
            headers: { location: `${to.origin}${path}` },
          });
        await assertHarmless(dir, server.url, `${status} to ${host}`, { env });
      }
    }
    server.answer = (_, path) =>
      new Response(null, { status: 302, headers: { location: path } });
    await assertHarmless(dir, server.url, "redirects, on and on", { env });
    assertEquals(other.requests, []);
  },
);

/** A pair of keys in files: PKCS#8 and SPKI. */
async function makeKeys(dir: TempDir, name: string): Promise<[string, string]> {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(
    "Ed25519",
    true,
    ["sign", "verify"],
  ) as CryptoKeyPair;
  const pem = async (key: CryptoKey, format: "pkcs8" | "spki") => {
    const label = format === "spki" ? "PUBLIC KEY" : "PRIVATE KEY";
    const der = new Uint8Array(await crypto.subtle.exportKey(format, key));
    return `-----BEGIN ${label}-----\n${der.toBase64()}\n-----END ${label}-----\n`;
  };
  const paths: [string, string] = [
    dir.at(`${name}.pem`),
    dir.at(`${name}.pub`),
  ];
  Deno.writeTextFileSync(paths[0], await pem(privateKey, "pkcs8"));
  Deno.writeTextFileSync(paths[1], await pem(publicKey, "spki"));
  return paths;
}

test("With --remote-trust an entry without a good signature does no harm", [
  "posix",
  "nginx",
  "bazel-remote",
], async () => {
  await using dir = TempDir.make();
  await using nginx = await startNginx();
  await using bazel = await startBazelRemote();
  dir.write({ keys: {}, tree: { a: "evil" } });
  const keys = TempDir.at(dir.at("keys"));
  const [sign, trust] = await makeKeys(keys, "ours");
  const [otherSign, otherTrust] = await makeKeys(keys, "other");
  for (const url of [nginx.url, bazel.grpc]) {
    const name = new URL(url).port;
    const writer = new Machine(dir, `writer ${name}`);
    const write = ["--remote", url, "--remote-mode", "read-write"];
    const more = ["--remote-trust", trust];
    const put = async (...signing: string[]) => {
      await writer.done("put", ...write, ...signing, "k", dir.at("tree"));
    };
    await put();
    await assertHarmless(dir, url, "not signed", { more });
    await put("--remote-sign", otherSign);
    await assertHarmless(dir, url, "signed by another", { more });
    await put("--remote-sign", sign);
    const reader = new Machine(dir, `reader ${name}`);
    const both = [...more, "--remote-trust", otherTrust];
    for (const [at, trusting] of [more, both, []].entries()) {
      const share = ["--remote", url, ...trusting];
      const got = await reader.done("get", ...share, "k", reader.at(`${at}`));
      assertEquals(got.outcome, "hit");
      await reader.done("rm", "k");
    }
  }
  // What is signed under another key is not what this key has.
  const [from, to] = ["another", "k"].map((key) =>
    `${nginx.files}/ac/${actionOf({ ...KEY, key }, "packs").digest.hash}`
  );
  const writer = new Machine(dir, "writer");
  const write = ["--remote", nginx.url, "--remote-mode", "read-write"];
  await writer.done(
    "put",
    ...write,
    "--remote-sign",
    sign,
    "another",
    dir.at("tree"),
  );
  Deno.copyFileSync(from!, to!);
  const more = ["--remote-trust", trust];
  await assertHarmless(dir, nginx.url, "signed for another key", { more });
});

test(
  "A tree that a remote should not have taken is refused, which is told once",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    const nothing = { calls: 1, sentBytes: 0, receivedBytes: 1, durationMs: 1 };
    const hit: RemoteReport = { outcome: "hit", files: 1, ...nothing };
    const { hash, size } = digestOf(EVIL);
    const remote: RemoteServer = {
      name: "one of somebody's own",
      mode: "read",
      keepNotesIn() {},
      [Symbol.dispose]() {},
      pull(_, sink) {
        sink.put({ hash, size }, EVIL);
        const tree = [{
          path: "",
          mode: 0o755,
          files: [["../evil", size, 0o644, hash, 0, 0]] as const,
          links: [],
          directories: [],
        }];
        return Promise.resolve({ tree, report: hit });
      },
      push: () => Promise.resolve({ ...hit, outcome: "off" }),
    };
    const told: string[] = [];
    const cache = openCache(dir.at("root"), { remote });
    const build = (at: string) => Deno.writeTextFileSync(`${at}/good`, "good");
    using entry = await cache.ensure("k", build, {
      onRemote: ({ outcome }) => told.push(outcome),
    });
    assertEquals([entry.outcome, told], ["built", ["refused"]]);
    assertEquals([...Deno.readDirSync(entry.path)].map((it) => it.name), [
      "good",
    ]);
    assertEquals(pathsIn(dir.path), []);
  },
);
