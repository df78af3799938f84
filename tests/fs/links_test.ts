import { assertEquals } from "@std/assert";
import { relativeText } from "../../lib/fs/links.ts";
import { openCache } from "../../lib/cache/cache.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

test(
  "relativeText() says where in its own tree a link leads, and nothing of others",
  [
    "posix",
  ],
  () => {
    const trees = ["/cache/tmp/1/tree", "/real/tree"];
    const text = (link: string, folder: string) =>
      relativeText(link, folder, trees);
    assertEquals(text("/cache/tmp/1/tree/a/b", ""), "a/b");
    assertEquals(text("/real/tree/a//./b/", "/a/c"), "../b");
    assertEquals(text("/real/tree/a/b", "/c/d"), "../../a/b");
    assertEquals(text("/real/tree/a", "/a"), ".");
    assertEquals(text("/real/tree", ""), ".");
    assertEquals(text("/real/tree", "/a/b"), "../..");
    for (
      const other of [
        "a/b",
        "../tree/a",
        "/real",
        "/real/tree2",
        "/real/tree/../x",
        "/usr/bin/python3",
      ]
    ) assertEquals(text(other, "/a"), undefined, other);
  },
);

test("relativeText() goes by Windows' spelling", ["windows"], () => {
  const trees = ["C:\\Cache\\tree"];
  const text = (link: string, folder: string) =>
    relativeText(link, folder, trees);
  assertEquals(text("C:\\cache\\TREE\\a\\b", "/a/c"), "..\\b");
  assertEquals(text("\\\\?\\C:\\Cache\\tree\\a", ""), "a");
  assertEquals(text("D:\\Cache\\tree\\a", ""), undefined);
});

/** A tree with links by the path that it is built at. */
function build(at: string): void {
  Deno.mkdirSync(`${at}/packages/one/deep`, { recursive: true });
  Deno.mkdirSync(`${at}/node_modules`);
  Deno.writeTextFileSync(`${at}/packages/one/file`, "content");
  const link = (to: string, from: string) =>
    Deno.symlinkSync(`${at}/packages/one${to}`, `${at}${from}`);
  link("", "/node_modules/one");
  link("/file", "/packages/one/deep/file");
  Deno.symlinkSync(at, `${at}/self`);
  Deno.symlinkSync("/usr/bin/env", `${at}/env`);
  Deno.chmodSync(`${at}/node_modules`, 0o555);
}

function assertLinks(at: string): void {
  const links = ["node_modules/one", "packages/one/deep/file", "self", "env"];
  assertEquals(links.map((it) => Deno.readLinkSync(`${at}/${it}`)), [
    "../packages/one",
    "../file",
    ".",
    "/usr/bin/env",
  ]);
  const file = Deno.readTextFileSync(`${at}/self/node_modules/one/deep/file`);
  assertEquals(file, "content");
  assertEquals(Deno.statSync(`${at}/node_modules`).mode! & 0o777, 0o555);
  Deno.chmodSync(`${at}/node_modules`, 0o755);
}

test(
  "rebuildCache() and ensure() let links lead to where the tree is put that they were built in",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    for (let i = 0; i < 2; i++) {
      await rebuildCache(dir.at("rebuilt"), build);
      assertLinks(dir.at("rebuilt"));
    }
    const cache = openCache(dir.at("cache"));
    using entry = await cache.ensure("key", build);
    await entry.link(dir.at("got"));
    assertLinks(dir.at("got"));
    const { damaged } = await cache.verify();
    assertEquals(damaged, []);
  },
);

/** As pnpm and npm link the packages of a workspace; anybody may make junctions. */
const JUNCTIONS = [
  "cmd",
  "/c",
  "mkdir {}\\packages\\one {}\\node_modules && echo content> {}\\packages\\one\\file && " +
  "mklink /J {}\\node_modules\\one {}\\packages\\one",
];

test(
  "rebuild-cache rebuild, ensure, put, get and link keep junctions leading into the tree",
  [
    "junctions",
  ],
  async () => {
    await using dir = TempDir.make();
    const must = async (...args: string[]) => {
      const { code, stdout, stderr } = await runCli(args, { cwd: dir.path });
      assertEquals(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
      return stderr;
    };
    const cache = ["--dir", "cache"];
    const trees = ["rebuilt", "built", "got", "linked"];
    await must("--dir", "rebuilt", "--", ...JUNCTIONS);
    await must("ensure", ...cache, "built", "built", "--", ...JUNCTIONS);
    await must("put", ...cache, "put", "rebuilt");
    await must("get", ...cache, "put", "got");
    await must("verify", ...cache);
    for (const name of trees.slice(0, 3)) {
      const inner = dir.at(name, "node_modules", "one");
      const leads = Deno.realPathSync(inner).toLowerCase();
      assertEquals(leads, dir.at(name, "packages", "one").toLowerCase());
    }
    // As cp -a: it leads to where it led.
    await must("link", "rebuilt", "linked");
    for (const name of trees) {
      const file = dir.at(name, "node_modules", "one", "file");
      assertEquals(Deno.readTextFileSync(file).trim(), "content", name);
    }
  },
);
