/** Machines share what they have by servers that people run. */

import { assert, assertEquals } from "@std/assert";
import { actionOf, decodeResult } from "../../lib/remote/action.ts";
import { must, runCli } from "../support/command.ts";
import { HttpCache } from "../support/http_cache.ts";
import { assertSameTree, Machine, STRESS, told } from "../support/machine.ts";
import { test } from "../support/needs.ts";
import {
  type BucketServer,
  startBazelRemote,
  startGofakes3,
  startNginx,
  startVersitygw,
} from "../support/servers.ts";
import { TempDir } from "../support/temp_dir.ts";

const WRITE = ["--remote-mode", "read-write"];

/** A tree of all that a cache keeps. */
async function makeTree(tree: string): Promise<void> {
  const noise = (path: string, size: number) => {
    using file = Deno.openSync(path, { write: true, create: true });
    for (let at = 0; at < size; at += 65536) {
      const bytes = new Uint8Array(Math.min(65536, size - at));
      file.writeSync(crypto.getRandomValues(bytes));
    }
  };
  for (const folder of ["empty", "odd/inner", "many", "😀/𝒳", "ünï/ﬀ"]) {
    Deno.mkdirSync(`${tree}/${folder}`, { recursive: true });
  }
  const files: [name: string, text: string, mode: number][] = [
    ["nothing", "", 0o644],
    ["nothing-to-run", "", 0o755],
    ["run", "#!/bin/sh\n", 0o755],
    ["read-only", "constant\n", 0o444],
    ["own", "secret\n", 0o600],
    ["odd/group", "group\n", 0o751],
    ["odd/inner/run", "#!/bin/sh\n", 0o700], // the same as another, but its mode
    ["odd/inner/twin", "constant\n", 0o444],
    ["😀/𝒳/\u{ffff}", "before the others by UTF-16\n", 0o644],
    ["😀/𝒳/\u{10000}", "and after them by code point\n", 0o644],
    ['ünï/ﬀ/a\nb\tc"d\\e', "a name with all sorts\n", 0o644],
  ];
  for (const [name, text, mode] of files) {
    Deno.writeTextFileSync(`${tree}/${name}`, text);
    Deno.chmodSync(`${tree}/${name}`, mode);
  }
  noise(`${tree}/big`, STRESS ? 300_000_000 : 20_000_000);
  noise(`${tree}/exact`, 1 << 20);
  noise(`${tree}/below`, (1 << 20) - 1);
  for (let at = 0; at < (STRESS ? 20_000 : 500); at++) {
    const folder = `${tree}/many/${at % 20}`;
    if (at < 20) Deno.mkdirSync(folder);
    Deno.writeTextFileSync(`${folder}/${at}`, `${at} `.repeat(at % 100 + 1));
  }
  Deno.linkSync(`${tree}/run`, `${tree}/odd/second-name`);
  Deno.linkSync(`${tree}/run`, `${tree}/odd/inner/third-name`);
  Deno.linkSync(`${tree}/nothing`, `${tree}/nothing-again`);
  Deno.symlinkSync("odd/inner", `${tree}/to-directory`);
  Deno.symlinkSync("../../run", `${tree}/odd/inner/to-file`);
  Deno.symlinkSync("/etc/hostname", `${tree}/absolute`);
  Deno.symlinkSync("no/such\nthing 😀", `${tree}/dangling`);
  const times: [time: string, ...names: string[]][] = [
    ["2001-02-03 04:05:06.789012345", "run", "own", "many/1/1"],
    ["1999-12-31 23:59:59.999999999", "absolute", "dangling", "odd/group"],
    ["2010-01-01 00:00:00.000000001", "odd/inner", "odd", "empty", "😀/𝒳"],
    ["1965-01-01 00:00:00.5", "read-only", "to-directory"],
    ["2020-02-02 02:02:02.020202020", "."],
  ];
  Deno.chmodSync(`${tree}/odd/inner`, 0o555);
  Deno.chmodSync(`${tree}/odd`, 0o705);
  Deno.chmodSync(`${tree}/empty`, 0o700);
  for (const [time, ...names] of times) {
    const paths = names.map((it) => `${tree}/${it}`);
    await must("touch", "--no-dereference", "--date", time, ...paths);
  }
}

/** So that the directory can be removed. */
function unlock(...trees: string[]): void {
  for (const it of trees) Deno.chmodSync(`${it}/odd/inner`, 0o755);
}

/** From one machine to the other, by way of a server. */
async function assertShared(
  pushUrl: string,
  env: Record<string, string> = {},
  pullUrl = pushUrl,
): Promise<void> {
  await using dir = TempDir.make();
  const tree = dir.at("tree");
  await makeTree(tree);
  const one = new Machine(dir, "one", env);
  const two = new Machine(dir, "two", env);
  const put = await one.done("put", "a key 😀", tree);
  const pushed = await one.done("push", "--remote", pushUrl, "a key 😀");
  assertEquals(pushed.keys[0].remote.outcome, "pushed");
  const pulled = await two.done("pull", "--remote", pullUrl, "a key 😀");
  assertEquals(pulled.keys[0].remote.outcome, "hit");
  assertEquals(pulled.keys[0].remote.files, pushed.keys[0].remote.files);
  const { entries: [entry] } = await two.done("ls");
  assertEquals([entry.files, entry.bytes], [put.files, put.bytes]);
  assertEquals(entry.digest, put.digest);
  const out = two.at("out");
  await two.done("get", "a key 😀", out);
  await assertSameTree(tree, out);
  const verified = await two.run("verify");
  assertEquals([verified.code, verified.stderr], [0, ""], verified.stdout);
  assertEquals(two.leftovers(), []);
  // All of it is there by now, on either side.
  const again = await one.done("push", "--remote", pushUrl, "a key 😀");
  assertEquals(told(again.keys[0].remote), { outcome: "pushed", files: 0 });
  const known = await two.done("pull", "--remote", pullUrl, "a key 😀");
  assertEquals(known.keys[0].remote.outcome, "hit");
  unlock(tree, out);
}

/** What the user's environment says. */
function keysOf(server: BucketServer): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: server.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
  };
}

const ALL = ["linux", "rsync"];

test("A tree is the same on another machine: bazel-remote, gRPC", [
  ...ALL,
  "bazel-remote",
], async () => {
  await using server = await startBazelRemote();
  await assertShared(server.grpc);
});

test("A tree is the same on another machine: bazel-remote, HTTP", [
  ...ALL,
  "bazel-remote",
], async () => {
  await using server = await startBazelRemote();
  await assertShared(server.http);
});

test("A tree is the same on another machine: nginx", [
  ...ALL,
  "nginx",
], async () => {
  await using server = await startNginx();
  await assertShared(server.url, {}, server.readOnlyUrl);
});

test("A tree is the same on another machine: gofakes3, also by HTTP", [
  ...ALL,
  "gofakes3",
], async () => {
  await using server = await startGofakes3();
  await assertShared(server.url, keysOf(server));
  // A bucket has the same layout for who knows nothing of S3.
  await using other = await startGofakes3();
  const plain = `${other.endpoint}/cache/some/where`;
  await assertShared(other.url, keysOf(other), plain);
});

test("A tree is the same on another machine: versitygw", [
  ...ALL,
  "versitygw",
], async () => {
  await using server = await startVersitygw();
  await assertShared(server.url, keysOf(server));
});

test("What was pushed by gRPC is the same by HTTP, and the other way round", [
  ...ALL,
  "bazel-remote",
], async () => {
  for (const [from, to] of [["grpc", "http"], ["http", "grpc"]] as const) {
    await using server = await startBazelRemote();
    await assertShared(server[from], {}, server[to]);
  }
});

/** A command that fills a directory with numbered files, and notes that it ran. */
function build(machine: Machine, files: number): string[] {
  const script = `echo ran >>ran; i=0; while [ $i -lt ${files} ]; do
    [ -d "$1/$((i % 7))" ] || mkdir "$1/$((i % 7))"
    echo "file $i ${"and so on ".repeat(20)}" >"$1/$((i % 7))/$i"
    i=$((i + 1)); done`;
  return ["--", "sh", "-c", `cd '${machine.path}'; ${script}`, "sh", "{}"];
}

function ran(machine: Machine): number {
  try {
    return Deno.readTextFileSync(machine.at("ran")).split("\n").length - 1;
  } catch {
    return 0;
  }
}

/** Two machines need the same, and then something that is a little different. */
async function assertBuiltOnce(
  url: string,
  env: Record<string, string> = {},
  knowsRanges = true,
): Promise<void> {
  await using dir = TempDir.make();
  const one = new Machine(dir, "one", env);
  const two = new Machine(dir, "two", env);
  const share = ["--remote", url, ...WRITE];
  const ensure = (machine: Machine, key: string, files: number) =>
    machine.done(
      "ensure",
      ...share,
      key,
      machine.at(key),
      ...build(machine, files),
    );
  const built = await ensure(one, "old", 200);
  // The first said that it is not there, and then it was pushed.
  assertEquals([built.outcome, built.remote.outcome], ["built", "pushed"]);
  const hit = await ensure(two, "old", 200);
  assertEquals([hit.outcome, hit.remote.outcome], ["hit", "hit"]);
  assertEquals(hit.remote.files, 200);
  await ensure(one, "new", 203);
  const more = await ensure(two, "new", 203);
  assertEquals(told(more.remote), { outcome: "hit", files: 3 });
  assert(
    !knowsRanges || more.remote.receivedBytes < hit.remote.receivedBytes / 1.1,
    `${more.remote.receivedBytes} of ${hit.remote.receivedBytes} bytes`,
  );
  assertEquals([ran(one), ran(two)], [2, 0]);
  for (const key of ["old", "new"]) {
    await must("diff", "-r", one.at(key), two.at(key));
  }
}

test(
  "ensure builds once for two machines, and pulls what is new: bazel-remote",
  [
    "linux",
    "bazel-remote",
  ],
  async () => {
    await using server = await startBazelRemote();
    await assertBuiltOnce(server.grpc);
    await using other = await startBazelRemote();
    await assertBuiltOnce(other.http, {}, false);
  },
);

test("ensure builds once for two machines, and pulls what is new: nginx", [
  "linux",
  "nginx",
], async () => {
  await using server = await startNginx();
  await assertBuiltOnce(server.url);
});

test("ensure builds once for two machines, and pulls what is new: versitygw", [
  "linux",
  "versitygw",
], async () => {
  await using server = await startVersitygw();
  await assertBuiltOnce(server.url, keysOf(server));
});

/** The pack of a key, of a server that keeps files: `ac/…` and `cas/…`. */
function removePack(files: string, key: string): void {
  const { digest } = actionOf({ bucket: "default", key }, "packs");
  const entry = Deno.readFileSync(`${files}/ac/${digest.hash}`);
  const { packs } = decodeResult(entry, "packs");
  Deno.removeSync(`${files}/cas/${packs[0]!.hash}`);
}

/** A pull of what is not whole any more, and what mends it. */
async function assertMended(
  url: string,
  lose: () => void,
  env: Record<string, string> = {},
): Promise<void> {
  await using dir = TempDir.make();
  dir.write({ tree: { a: "content", b: "more" } });
  const one = new Machine(dir, "one", env);
  await one.done("put", "k", dir.at("tree"));
  await one.done("push", "--remote", url, "k");
  lose();
  const two = new Machine(dir, "two", env);
  const missed = await two.run("pull", "--remote", url, "k");
  assertEquals([missed.code, missed.said.length], [4, 1], missed.stderr);
  const pushed = await one.done("push", "--remote", url, "k");
  assertEquals(told(pushed.keys[0].remote), { outcome: "pushed", files: 2 });
  const pulled = await two.done("pull", "--remote", url, "k");
  assertEquals(pulled.keys[0].remote.outcome, "hit");
  await two.done("get", "k", two.at("out"));
  assertEquals(Deno.readTextFileSync(two.at("out/a")), "content");
}

test("What nginx has lost is a miss, until the next push", [
  "nginx",
], async () => {
  await using server = await startNginx();
  await assertMended(server.url, () => removePack(server.files, "k"));
});

test("What versitygw has lost is a miss, until the next push", [
  "versitygw",
], async () => {
  await using server = await startVersitygw();
  const files = server.process.dir.at("buckets", "cache", "some", "where");
  await assertMended(
    server.url,
    () => removePack(files, "k"),
    keysOf(server),
  );
});

test(
  "What bazel-remote has lost without knowing is a miss, until who missed it pushes",
  [
    "bazel-remote",
  ],
  async () => {
    for (const kind of ["grpc", "http"] as const) {
      await using dir = TempDir.make();
      await using server = await startBazelRemote();
      dir.write({ tree: { a: "content", b: "more" } });
      const share = ["--remote", server[kind], ...WRITE];
      const one = new Machine(dir, "one");
      await one.done("put", ...share, "k", dir.at("tree"));
      const cas = server.process.dir.at("cache", "cas.v2");
      const lost = kind === "grpc" ? "content" : "contentmore";
      const bytes = new TextEncoder().encode(lost);
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
        .toHex();
      const shard = `${cas}/${hash.slice(0, 2)}`;
      const names = [...Deno.readDirSync(shard)].map(({ name }) => name)
        .filter((name) => name.startsWith(hash));
      assertEquals(names.length, 1);
      Deno.removeSync(`${shard}/${names[0]}`);
      const two = new Machine(dir, "two");
      const missed = await two.run("pull", "--remote", server[kind], "k");
      assertEquals([missed.code, missed.said.length], [4, 1], missed.stderr);
      const built = await two.done(
        "ensure",
        ...share,
        "k",
        two.at("out"),
        "--",
        "cp",
        "-R",
        `${dir.at("tree")}/.`,
        "{}",
      );
      assertEquals(built.outcome, "built");
      const three = new Machine(dir, "three");
      const pulled = await three.done("pull", "--remote", server[kind], "k");
      assertEquals(pulled.keys[0].remote.outcome, "hit");
    }
  },
);

test("Who may only read asks for nothing else", ["net"], async () => {
  await using dir = TempDir.make();
  await using server = new HttpCache(dir.at("server"));
  dir.write({ tree: { a: "content" } });
  const writer = new Machine(dir, "writer");
  await writer.done(
    "put",
    "--remote",
    server.url,
    ...WRITE,
    "k",
    dir.at("tree"),
  );
  server.take();
  const share = ["--remote", server.url];
  const reader = new Machine(dir, "reader");
  await reader.done("put", ...share, "own", dir.at("tree"));
  await reader.done("get", ...share, "k", reader.at("k"));
  await reader.done(
    "ensure",
    ...share,
    "another",
    reader.at("another"),
    "--",
    "cp",
    dir.at("tree", "a"),
    "{}/a",
  );
  assertEquals((await reader.run("pull", ...share, "none")).code, 4);
  assertEquals((await reader.run("get", ...share, "none", "x")).code, 4);
  const pushed = await reader.run(
    "push",
    ...share,
    "--remote-mode",
    "read",
    "own",
  );
  assertEquals([pushed.code, pushed.said.length], [1, 1], pushed.stderr);
  const doctor = await runCli(["doctor", ...share]);
  assertEquals([doctor.code, doctor.stderr], [0, ""], doctor.stdout);
  const asked = Object.keys(server.take());
  assertEquals(asked.filter((it) => !/^(GET|HEAD) /.test(it)), []);
  assert(asked.includes("GET /ac"));
});

test("Who has no credentials reads from bazel-remote, and nothing fails", [
  "bazel-remote",
], async () => {
  await using dir = TempDir.make();
  const user = { name: "me", password: "its-password" };
  await using server = await startBazelRemote({ user });
  dir.write({ tree: { a: "content" } });
  for (const kind of ["grpc", "http"] as const) {
    const url = server[kind];
    const known = url.replace("://", `://${user.name}:${user.password}@`);
    const writer = new Machine(dir, `writer ${kind}`);
    const put = await writer.done(
      "put",
      "--remote",
      known,
      ...WRITE,
      "k",
      dir.at("tree"),
    );
    assertEquals(put.remote.outcome, "pushed");
    const reader = new Machine(dir, `reader ${kind}`);
    const hit = await reader.done("get", "--remote", url, "k", reader.at("k"));
    assertEquals(hit.remote.outcome, "hit");
    const built = await reader.done(
      "ensure",
      "--remote",
      url,
      "another",
      reader.at("another"),
      "--",
      "cp",
      dir.at("tree", "a"),
      "{}/a",
    );
    assertEquals([built.outcome, built.remote.outcome], ["built", "miss"]);
  }
});

test("What is in the cache is had without a connection", ["net"], async () => {
  await using dir = TempDir.make();
  dir.write({ tree: { a: "content" } });
  let connections = 0;
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = (async () => {
    for await (const it of listener) {
      connections++;
      it.close();
    }
  })();
  const machine = new Machine(dir, "machine");
  await machine.done("put", "k", dir.at("tree"));
  for (const protocol of ["http", "grpc"]) {
    const url = `${protocol}://127.0.0.1:${listener.addr.port}`;
    const share = ["--remote", url, ...WRITE];
    const out = machine.at(`out ${protocol}`);
    await machine.done("get", ...share, "k", out);
    await machine.done("get", ...share, "k", out); // unchanged
    await machine.done("get", ...share, "--lookup-only", "k");
    await machine.done("ensure", ...share, "k", `${out} 2`, "--", "false");
    await machine.done("ensure", ...share, "k", `${out} 2`, "--", "false");
  }
  assertEquals(connections, 0);
  const share = ["--remote", `http://127.0.0.1:${listener.addr.port}`];
  await machine.run("get", ...share, "none", machine.at("none"));
  assert(connections > 0);
  listener.close();
  await accepting;
});
