/** Pulls and pushes, against servers that people run. */

import { assert, assertEquals } from "@std/assert";
import { actionOf } from "../../lib/remote/action.ts";
import { openServer } from "../support/open_server.ts";
import { doctor, type RemoteOptions } from "../../lib/remote/remote.ts";
import { test } from "../support/needs.ts";
import {
  basic,
  startBazelRemote,
  startGofakes3,
  startNginx,
  startVersitygw,
} from "../support/servers.ts";
import { TempDir } from "../support/temp_dir.ts";
import {
  DirectorySink,
  DirectorySource,
  listTree,
  sortedTree,
} from "../support/trees.ts";

const KEY = { bucket: "default", key: "a key 😀" };
const SIGN = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
`;
const TRUST = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
const WRITE: RemoteOptions = { mode: "read-write", sign: SIGN };

/** Makes a tree: small files, some of them alike, a large one, and an empty one. */
function makeTree(dir: TempDir, seed = "one", files = 500): string {
  const root = dir.at(`tree ${seed}`);
  for (let at = 0; at < files; at++) {
    const folder = `${root}/${at % 10}/ünï`;
    Deno.mkdirSync(folder, { recursive: true });
    const text = `${at % 400} of them ${seed}\n`.repeat(at % 40 + 1);
    Deno.writeTextFileSync(`${folder}/${at}`, text);
  }
  Deno.writeFileSync(`${root}/empty`, new Uint8Array());
  const large = new Uint8Array(5_000_000);
  for (let at = 0; at < large.length; at += 65536) {
    crypto.getRandomValues(large.subarray(at, at + 65536));
  }
  Deno.writeFileSync(`${root}/large`, large);
  if (Deno.build.os !== "windows") Deno.symlinkSync("0/ünï/0", `${root}/link`);
  return root;
}

/** Pushes and pulls in all ways; gives the calls that each took. */
async function roundTrip(
  url: string,
  more: Omit<RemoteOptions, "mode"> = {},
): Promise<number[]> {
  await using dir = TempDir.make();
  const root = makeTree(dir);
  const tree = listTree(root);
  const calls: number[] = [];
  const push = async (options: RemoteOptions) => {
    using remote = openServer(url, { ...options, ...more });
    const report = await remote.push(KEY, tree, new DirectorySource(root));
    assertEquals(report.outcome, "pushed", report.reason);
    calls.push(report.calls);
    return report;
  };
  const sink = new DirectorySink(dir.at("sink"));
  const pull = async () => {
    using remote = openServer(url, { trust: [TRUST], ...more });
    const pulled = await remote.pull(KEY, sink);
    calls.push(pulled.report.calls);
    return pulled;
  };
  assertEquals((await pull()).report.outcome, "miss");
  // 400 texts of up to 40 lines, and the large one.
  assertEquals((await push(WRITE)).files, 401);
  const { report, tree: pulled } = await pull();
  assertEquals(report.outcome, "hit", report.reason);
  assertEquals(report.files, 401);
  assertEquals(sortedTree(pulled!), sortedTree(tree));
  for (const { files } of tree) {
    for (const [, size, , hash] of files) assert(sink.has({ hash, size }));
  }
  assertEquals((await push(WRITE)).files, 0);
  assertEquals((await pull()).report.files, 0);
  using remote = openServer(url, { ...WRITE, ...more });
  const health = await doctor(remote);
  assertEquals([health.reads, health.writes], [true, true], health.reason);
  assert(
    health.uploadBytesPerSecond! > 0 && health.downloadBytesPerSecond! > 0,
  );
  return calls;
}

test(
  "openRemote() works with bazel-remote by gRPC",
  ["bazel-remote"],
  async () => {
    await using server = await startBazelRemote();
    // Each begins by asking what the server can do. Small contents are a batch.
    assertEquals(await roundTrip(server.grpc), [3, 5, 5, 3, 3]);
  },
);

test(
  "openRemote() works with bazel-remote by HTTP",
  ["bazel-remote"],
  async () => {
    await using server = await startBazelRemote();
    assertEquals(await roundTrip(server.http), [2, 6, 4, 4, 2]);
  },
);

test("openRemote() works with nginx", ["nginx"], async () => {
  await using server = await startNginx();
  assertEquals(await roundTrip(server.url), [2, 6, 4, 4, 2]);
});

test("openRemote() works with gofakes3", ["gofakes3"], async () => {
  await using server = await startGofakes3();
  const { url, accessKeyId, secretAccessKey } = server;
  const aws = { accessKeyId, secretAccessKey };
  assertEquals(await roundTrip(url, { aws }), [2, 6, 4, 4, 2]);
});

test("openRemote() works with versitygw, and is refused without its keys", [
  "versitygw",
], async () => {
  await using dir = TempDir.make();
  await using server = await startVersitygw();
  const { url, accessKeyId, secretAccessKey } = server;
  const aws = { accessKeyId, secretAccessKey };
  assertEquals(await roundTrip(url, { aws }), [2, 6, 4, 4, 2]);
  for (
    const wrong of [{}, { accessKeyId, secretAccessKey: "another-secret" }]
  ) {
    using remote = openServer(url, { aws: wrong });
    const sink = new DirectorySink(dir.at("sink"));
    const { report } = await remote.pull(KEY, sink);
    assertEquals(report.outcome, "refused");
    assertEquals(/another-secret|\n/.test(report.reason!), false);
  }
});

test(
  "Remote.push() is refused by bazel-remote before much is sent, who may only read",
  ["bazel-remote"],
  async () => {
    await using dir = TempDir.make();
    const user = { name: "me", password: "p@ssw0rd" };
    await using server = await startBazelRemote({ user });
    const root = dir.at("tree");
    Deno.mkdirSync(root);
    for (let at = 0; at < 20; at++) {
      const noise = crypto.getRandomValues(new Uint8Array(65536));
      const content = new Uint8Array(1_000_000);
      content.set(noise);
      Deno.writeFileSync(`${root}/${at}`, content);
    }
    const tree = listTree(root);
    for (const url of [server.grpc, server.http]) {
      using remote = openServer(url, WRITE);
      const source = new DirectorySource(root);
      const report = await remote.push(KEY, tree, source);
      assertEquals(report.outcome, "refused");
      assert(report.sentBytes < 10_000, `${report.sentBytes} bytes`);
      assertEquals(report.reason!.startsWith(url), true, report.reason);
      using known = openServer(url, {
        ...WRITE,
        headers: `authorization: ${basic(user)}`,
      });
      assertEquals((await known.push(KEY, tree, source)).outcome, "pushed");
    }
  },
);

test("Remote.push() mends what bazel-remote has lost without knowing it", [
  "bazel-remote",
], async () => {
  await using dir = TempDir.make();
  await using server = await startBazelRemote();
  const root = makeTree(dir, "two", 20);
  const folder = dir.at("remote-v1");
  const pull = async (name: string) => {
    using remote = openServer(server.grpc, { folder });
    const pulled = await remote.pull(KEY, new DirectorySink(dir.at(name)));
    return pulled.report.outcome;
  };
  const push = async (options: RemoteOptions) => {
    using remote = openServer(server.grpc, { ...WRITE, ...options });
    const source = new DirectorySource(root);
    return (await remote.push(KEY, listTree(root), source)).files;
  };
  assertEquals(await push({}), 21);
  // Not the large one: what comes in a stream it drops, if it believes to have it.
  const small = listTree(root).find(({ path }) => path === "/0/ünï")!.files[0]!;
  const hash = small[3];
  const shard = `${server.process.dir.at("cache")}/cas.v2/${hash.slice(0, 2)}`;
  for (const { name } of Deno.readDirSync(shard)) {
    if (name.startsWith(hash)) Deno.removeSync(`${shard}/${name}`);
  }
  assertEquals(await pull("first"), "miss");
  assertEquals(await push({}), 0); // it does not know what was missing
  assertEquals(await push({ folder }), 21);
  assertEquals(await pull("second"), "hit");
});

test(
  "Remote.pull() takes nothing from bazel-remote that another key's action is put under",
  ["bazel-remote"],
  async () => {
    await using dir = TempDir.make();
    await using server = await startBazelRemote();
    const root = makeTree(dir, "three", 3);
    using remote = openServer(server.http, WRITE);
    const source = new DirectorySource(root);
    await remote.push(KEY, listTree(root), source);
    const other = { ...KEY, key: "another" };
    const address = (key: typeof KEY) =>
      `${server.http}/ac/${actionOf(key, "packs").digest.hash}`;
    const found = await fetch(address(KEY));
    const body = await found.arrayBuffer();
    await (await fetch(address(other), { method: "PUT", body })).body?.cancel();
    using reader = openServer(server.http, { trust: [TRUST] });
    const sink = new DirectorySink(dir.at("sink"));
    assertEquals((await reader.pull(other, sink)).report.outcome, "refused");
    assertEquals(sink.came, []);
    assertEquals((await reader.pull(KEY, sink)).report.outcome, "hit");
  },
);
