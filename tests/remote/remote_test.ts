/** Pulls and pushes by HTTP, against a server in this process. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { RemoteReport } from "../../lib/cache/remote.ts";
import type { ListedFile } from "../../lib/link/listing.ts";
import { actionOf } from "../../lib/remote/action.ts";
import { encodeTree } from "../../lib/remote/tree.ts";
import { openServer } from "../support/open_server.ts";
import type { RemoteOptions } from "../../lib/remote/remote.ts";
import { HttpCache } from "../support/http_cache.ts";
import { TempDir } from "../support/temp_dir.ts";
import {
  DirectorySink,
  DirectorySource,
  listedFile,
  listTree,
  sortedTree,
} from "../support/trees.ts";

const KEY = { bucket: "default", key: "a key" };
const ADDRESS = actionOf(KEY, "packs").digest.hash;
const WRITE: RemoteOptions = { mode: "read-write" };

/** A directory of a test's own, with a server over a part of it. */
class Place implements AsyncDisposable {
  readonly dir = TempDir.make();
  readonly server = new HttpCache(this.dir.at("server"));

  /** Makes a tree: many small files, a large one, an empty one, and links. */
  tree(name = "tree", files = 40, size = 300_000): string {
    const root = this.dir.at(name);
    for (let at = 0; at < files; at++) {
      const folder = `${root}/${at % 4}/inner`;
      Deno.mkdirSync(folder, { recursive: true });
      Deno.writeFileSync(`${folder}/${at}`, noise(size, at));
    }
    Deno.mkdirSync(`${root}/empty`, { recursive: true });
    Deno.writeFileSync(`${root}/empty file`, new Uint8Array());
    Deno.writeFileSync(`${root}/large`, noise(2_500_000, 1e6));
    if (Deno.build.os !== "windows") Deno.symlinkSync("0", `${root}/link`);
    return root;
  }

  async push(root: string, options = WRITE): Promise<RemoteReport> {
    using remote = openServer(this.server.url, options);
    return await remote.push(KEY, listTree(root), new DirectorySource(root));
  }

  async pull(name: string, options: RemoteOptions = {}) {
    using remote = openServer(this.server.url, options);
    const sink = new DirectorySink(this.dir.at(name));
    const { tree, report } = await remote.pull(KEY, sink);
    return { tree, report, sink };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.dir[Symbol.asyncDispose]();
  }
}

/** The same for the same number. */
function noise(size: number, seed: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(size / 4));
  let x = (seed + 1) * 2654435761 >>> 0;
  for (let at = 0; at < words.length; at++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[at] = x;
  }
  return new Uint8Array(words.buffer, 0, size);
}

/** What is known of a tree whose times a sink does not know. */
function assertWhole(
  root: string,
  { tree, sink }: Awaited<ReturnType<Place["pull"]>>,
) {
  assertEquals(sortedTree(tree!), sortedTree(listTree(root)));
  for (const { files } of tree!) {
    for (const [name, size, , hash] of files) {
      assert(sink.has({ hash, size }), `${name} is missing`);
    }
  }
}

Deno.test("Remote.push() puts what Remote.pull() gives back, in few requests", async () => {
  await using place = new Place();
  const { server } = place;
  const root = place.tree();
  const pushed = await place.push(root);
  // 12 MB in two packs, a large file, the tree.
  assertEquals(server.take(), { "HEAD /cas": 3, "PUT /cas": 4, "PUT /ac": 1 });
  assertEquals([pushed.outcome, pushed.calls, pushed.files], ["pushed", 8, 41]);
  assertEquals(pushed.reason, undefined);
  assert(pushed.sentBytes > 14_500_000);
  assertEquals(server.names("ac"), [ADDRESS]);

  const pulled = await place.pull("sink");
  assertEquals(server.take(), { "GET /ac": 1, "GET /cas": 4 });
  const { outcome, calls, files } = pulled.report;
  assertEquals([outcome, calls, files], ["hit", 5, 41]);
  assertWhole(root, pulled);

  const again = await place.pull("sink");
  assertEquals(server.take(), { "GET /ac": 1, "GET /cas": 1 });
  assertEquals([again.report.outcome, again.report.files], ["hit", 0]);
  assertWhole(root, again);

  const nothing = await place.push(root);
  assertEquals(server.take(), { "HEAD /cas": 4, "PUT /ac": 1 });
  assertEquals([nothing.outcome, nothing.files], ["pushed", 0]);
});

for (const knowsRanges of [true, false]) {
  const how = knowsRanges ? "by range" : "where the server sends all of it";
  Deno.test(`Remote.pull() fetches what is lacked, ${how}`, async () => {
    await using place = new Place();
    const { server } = place;
    server.knowsRanges = knowsRanges;
    const root = place.tree();
    await place.push(root);
    const whole = await place.pull("sink");
    const lost = whole.tree!.flatMap(({ files }) => files)
      .filter(([name]) => ["4", "9", "large"].includes(name));
    for (const [, , , hash] of lost) Deno.removeSync(whole.sink.at({ hash }));
    server.take();
    server.sentBytes = 0;
    const pulled = await place.pull("sink");
    assertEquals([pulled.report.outcome, pulled.report.files], ["hit", 3]);
    assertEquals(
      pulled.sink.came.toSorted(),
      lost.map(([, , , hash]) => hash).toSorted(),
    );
    assertWhole(root, pulled);
    const sent = knowsRanges ? 3_200_000 : 15_000_000;
    assert(server.sentBytes < sent, `${server.sentBytes} bytes`);
  });
}

Deno.test("Remote.pull() gives a tree that is a file, and an empty one", async () => {
  await using place = new Place();
  using remote = openServer(place.server.url, WRITE);
  const source = new DirectorySource(place.tree("one", 1, 10));
  const content = noise(10, 0);
  const [, ...file] = listedFile("", content);
  const nothing = { files: [], links: [], directories: [] };
  const single = { ...nothing, path: undefined, mode: 0 };
  const sink = new DirectorySink(place.dir.at("sink"));
  for (
    const tree of [
      [{ ...single, files: [["", ...file] as ListedFile] }],
      [{ ...nothing, path: "", mode: 0o755 }],
    ]
  ) {
    assertEquals((await remote.push(KEY, tree, source)).outcome, "pushed");
    assertEquals((await remote.pull(KEY, sink)).tree, tree);
  }
});

Deno.test("Remote.pull() is a miss for what is not there, and nothing is noted", async () => {
  await using place = new Place();
  const folder = place.dir.at("remote-v1");
  const { tree, report } = await place.pull("sink", { folder });
  assertEquals([tree, report.outcome, report.calls], [undefined, "miss", 2]);
  assertEquals(report.reason, `${place.server.url}: it does not have the key`);
  assertEquals([...Deno.readDirSync(place.dir.path)].length, 2); // sink, server
  // By another bucket it is not there either.
  await place.push(place.tree());
  using remote = openServer(place.server.url);
  const sink = new DirectorySink(place.dir.at("sink"));
  const other = await remote.pull({ ...KEY, bucket: "other" }, sink);
  assertEquals(other.report.outcome, "miss");
});

Deno.test("Remote.push() asks nothing where the remote is to be read", async () => {
  await using place = new Place();
  const report = await place.push(place.tree(), {});
  assertEquals([report.outcome, report.calls], ["off", 0]);
  assertEquals(place.server.take(), {});
});

Deno.test("Remote.push() sends all of it, unasked, when something of the key was lost", async () => {
  await using place = new Place();
  const { server } = place;
  const folder = place.dir.at("remote-v1");
  const root = place.tree();
  await place.push(root);
  // The server loses what it believes to have.
  const sizes = server.names("cas").map((name) =>
    [Deno.statSync(server.path("cas", name)).size, name] as const
  ).sort(([a], [b]) => b - a);
  for (const [, name] of sizes.slice(0, 2)) {
    Deno.removeSync(server.path("cas", name));
  }
  const believed = new Map(sizes.map(([size, name]) => [`/cas/${name}`, size]));
  server.answer = ({ method }, path) => {
    if (method !== "HEAD") return undefined;
    const headers = { "content-length": String(believed.get(path)) };
    return new Response(null, { headers });
  };
  const miss = await place.pull("sink", { folder });
  assertEquals([miss.report.outcome, miss.tree], ["miss", undefined]);
  server.take();
  const useless = await place.push(root);
  assertEquals([useless.outcome, useless.files], ["pushed", 0]);
  assertEquals((await place.pull("sink", { folder })).report.outcome, "miss");
  server.take();
  const pushed = await place.push(root, { ...WRITE, folder });
  assertEquals(server.take(), { "PUT /cas": 4, "PUT /ac": 1 });
  assertEquals([pushed.outcome, pushed.files], ["pushed", 41]);
  const pulled = await place.pull("sink", { folder });
  assertEquals(pulled.report.outcome, "hit");
  assertWhole(root, pulled);
  // It is forgotten by then.
  assertEquals([...Deno.readDirSync(folder)], []);
});

Deno.test("Remote.pull() takes nothing wrong, and the next push mends it", async () => {
  await using place = new Place();
  const { server } = place;
  const folder = place.dir.at("remote-v1");
  const root = place.tree();
  await place.push(root);
  for (const name of server.names("cas")) {
    const path = server.path("cas", name);
    const right = Deno.readFileSync(path);
    const turned = right.slice();
    turned[turned.length >> 1]! ^= 1;
    for (
      const wrong of [turned, right.slice(0, -1), new Uint8Array([...right, 0])]
    ) {
      Deno.writeFileSync(path, wrong);
      const { tree, report } = await place.pull(crypto.randomUUID(), {
        folder,
      });
      assertEquals([report.outcome, tree], ["refused", undefined]);
      assertEquals(report.reason?.startsWith(server.url), true);
    }
  }
  server.take();
  const pushed = await place.push(root, { ...WRITE, folder });
  assertEquals(pushed.files, 41);
  assertWhole(root, await place.pull("sink"));
});

Deno.test("Remote.pull() refuses what is no entry", async () => {
  await using place = new Place();
  const { server } = place;
  const path = server.path("ac", ADDRESS);
  for (
    const wrong of [
      new TextEncoder().encode("<html>log in</html>"),
      crypto.getRandomValues(new Uint8Array(300)),
      new Uint8Array(),
    ]
  ) {
    Deno.writeFileSync(path, wrong);
    const { tree, report } = await place.pull("sink");
    assertEquals([report.outcome, tree], ["refused", undefined]);
  }
  // A tree of another one: its packs are not these.
  await place.push(place.tree());
  const right = Deno.readFileSync(path);
  const other = place.tree("other", 3);
  const { bytes, digest } = encodeTree(listTree(other));
  Deno.writeFileSync(server.path("cas", digest.hash), bytes);
  const text = new TextDecoder("latin1").decode(right);
  const known = encodeTree(listTree(place.dir.at("tree"))).digest;
  const at = text.indexOf(known.hash);
  right.set(new TextEncoder().encode(digest.hash), at);
  Deno.writeFileSync(path, right);
  assertEquals((await place.pull("sink")).report.outcome, "refused");
});

Deno.test("Remote.pull() takes only what is signed by a key that is trusted", async () => {
  await using place = new Place();
  const make = async () => {
    const pair = await crypto.subtle.generateKey("Ed25519", true, [
      "sign",
      "verify",
    ]) as CryptoKeyPair;
    const secret = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
    const body = new Uint8Array(secret).toBase64();
    const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
    return {
      sign: `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`,
      known: new Uint8Array(raw).toBase64(),
    };
  };
  const [mine, other] = [await make(), await make()];
  const root = place.tree();
  const trust = [mine.known];
  const outcome = async (trust: string[]) => {
    const { report, tree } = await place.pull("sink", { trust });
    assertEquals(tree === undefined, report.outcome !== "hit");
    return [report.outcome, report.reason?.split(": ").at(-1)];
  };
  await place.push(root);
  assertEquals(await outcome(trust), ["refused", "the entry is not signed"]);
  await place.push(root, { ...WRITE, sign: other.sign });
  const reason = "the entry is not signed by a key that is trusted";
  assertEquals(await outcome(trust), ["refused", reason]);
  await place.push(root, { ...WRITE, sign: mine.sign });
  assertEquals(await outcome(trust), ["hit", undefined]);
  assertEquals(await outcome([other.known, mine.known]), ["hit", undefined]);
  // Another key's entry, put in this one's place.
  using remote = openServer(place.server.url, { ...WRITE, sign: mine.sign });
  const key = { ...KEY, key: "another" };
  await remote.push(key, listTree(root), new DirectorySource(root));
  Deno.copyFileSync(
    place.server.path("ac", actionOf(key, "packs").digest.hash),
    place.server.path("ac", ADDRESS),
  );
  assertEquals(await outcome(trust), ["refused", reason]);
});

Deno.test("Remote.push() finds out with a few bytes that it may not write many", async () => {
  await using place = new Place();
  const { server } = place;
  server.answer = ({ method }) =>
    method === "PUT" ? new Response(null, { status: 403 }) : undefined;
  const headers = "authorization: Bearer s3cret-t0ken";
  const report = await place.push(place.tree("tree", 60), {
    ...WRITE,
    headers,
  });
  assertEquals(report.outcome, "refused");
  assertEquals(server.cameBytes < 1000, true, `${server.cameBytes} bytes`);
  assertEquals(server.names("ac"), []);
  assertEquals(/s3cret|\n/.test(report.reason!), false);
  assertEquals(report.reason!.startsWith(server.url), true);
});

Deno.test("Remote says that it is refused where its credentials are wrong", async () => {
  await using place = new Place();
  const { server } = place;
  server.answer = ({ headers }) =>
    headers.get("authorization") === `Basic ${btoa("me:p@ss")}`
      ? undefined
      : new Response("who are you?", { status: 401 });
  const folder = place.dir.at("remote-v1");
  const wrong = await place.pull("sink", { folder });
  assertEquals([wrong.report.outcome, wrong.report.calls], ["refused", 1]);
  const url = new URL(server.url);
  [url.username, url.password] = ["me", "p@ss"];
  using remote = openServer(url, { folder });
  assertEquals(remote.name, server.url);
  const sink = new DirectorySink(place.dir.at("sink"));
  assertEquals((await remote.pull(KEY, sink)).report.outcome, "miss");
});

Deno.test("Remote is off for a minute after it was down, for the next process too", async () => {
  await using place = new Place();
  const folder = place.dir.at("remote-v1");
  const root = place.tree("tree", 1, 10);
  const port = Number(new URL(place.server.url).port);
  await place.server[Symbol.asyncDispose]();
  const down = await place.pull("sink", { folder });
  assertEquals(down.report.outcome, "down", down.report.reason);
  assertEquals(down.report.reason!.startsWith(place.server.url), true);
  // It is back, and nobody asks.
  await using server = new HttpCache(place.dir.at("server"), port);
  const off = await place.pull("sink", { folder });
  assertEquals([off.report.outcome, off.report.calls], ["off", 0]);
  assertEquals((await place.push(root, { ...WRITE, folder })).outcome, "off");
  assertEquals(server.take(), {});
  const [note] = [...Deno.readDirSync(folder)];
  const before = new Date(Date.now() - 61_000);
  Deno.utimeSync(`${folder}/${note!.name}`, before, before);
  assertEquals(
    (await place.push(root, { ...WRITE, folder })).outcome,
    "pushed",
  );
});

Deno.test("Remote throws the signal's reason, and what sinks and sources throw", async () => {
  await using place = new Place();
  const { server } = place;
  const root = place.tree("tree", 3, 10);
  const tree = listTree(root);
  using remote = openServer(server.url, WRITE);
  const source = new DirectorySource(root);
  const sink = new DirectorySink(place.dir.at("sink"));
  const signal = AbortSignal.abort(new Error("stop"));
  await assertRejects(() => remote.pull(KEY, sink, { signal }), Error, "stop");
  await assertRejects(
    () => remote.push(KEY, tree, source, { signal }),
    Error,
    "stop",
  );
  assertEquals(server.take(), {});
  const broken = {
    read: () => {
      throw new Error("the disk is gone");
    },
    stream: () => {
      throw new Error("the disk is gone");
    },
  };
  await assertRejects(
    () => remote.push(KEY, tree, broken),
    Error,
    "disk is gone",
  );
  assertEquals(server.names("ac"), []);
  assertEquals((await remote.push(KEY, tree, source)).outcome, "pushed");
  sink.put = () => {
    throw new Error("the disk is full");
  };
  await assertRejects(() => remote.pull(KEY, sink), Error, "disk is full");
  // While it runs.
  const abort = new AbortController();
  server.answer = (_, path) => {
    if (path.startsWith("/cas/")) abort.abort(new Error("stop now"));
    return undefined;
  };
  const second = new DirectorySink(place.dir.at("second"));
  await assertRejects(
    () => remote.pull(KEY, second, { signal: abort.signal }),
    Error,
    "stop now",
  );
  server.answer = undefined;
  assertEquals((await remote.pull(KEY, second)).report.outcome, "hit");
});

Deno.test("Remote.push() refuses names that are not UTF-8, and asks nothing", async () => {
  await using place = new Place();
  using remote = openServer(place.server.url, WRITE);
  const source = new DirectorySource(place.tree("tree", 1, 10));
  const files = [listedFile("caf\udce9", "")];
  const tree = [{ path: "", mode: 0o755, files, links: [], directories: [] }];
  const report = await remote.push(KEY, tree, source);
  assertEquals([report.outcome, report.calls], ["refused", 0]);
  assertEquals(report.reason!.includes('"caf\\xe9"'), true, report.reason);
  const key = { bucket: "a", key: "\ud800" };
  const sink = new DirectorySink(place.dir.at("sink"));
  assertEquals((await remote.pull(key, sink)).report.outcome, "refused");
  assertEquals(place.server.take(), {});
});

Deno.test("Remote says how far it is", async () => {
  await using place = new Place();
  const root = place.tree();
  using remote = openServer(place.server.url, WRITE);
  let last = { bytes: 0, totalBytes: 0 };
  const onProgress = (now: { bytes: number; totalBytes?: number }) => {
    assert(now.bytes >= last.bytes);
    last = { totalBytes: 0, ...now };
  };
  const options = { onProgress };
  await remote.push(KEY, listTree(root), new DirectorySource(root), options);
  assert(last.totalBytes > 14_500_000 && last.bytes >= last.totalBytes);
  last = { bytes: 0, totalBytes: 0 };
  const sink = new DirectorySink(place.dir.at("sink"));
  await remote.pull(KEY, sink, options);
  assert(last.totalBytes > 14_500_000 && last.bytes >= last.totalBytes);
});

Deno.test("Remote serves several calls at a time", async () => {
  await using place = new Place();
  const root = place.tree("tree", 20, 1000);
  await place.push(root);
  using remote = openServer(place.server.url);
  const stopped = new AbortController();
  const { signal } = stopped;
  const sinks = Array.from(
    { length: 6 },
    (_, at) => new DirectorySink(place.dir.at(`sink ${at}`)),
  );
  const pulls = sinks.map((sink, at) =>
    remote.pull(KEY, sink, at === 0 ? { signal } : {})
  );
  stopped.abort(new Error("not this one"));
  await assertRejects(() => pulls[0]!, Error, "not this one");
  for (const pull of pulls.slice(1)) {
    assertEquals((await pull).report.outcome, "hit");
  }
});
