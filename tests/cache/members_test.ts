// Caches of several users, each with no rights but their own.
import { assertEquals } from "@std/assert";
import { must } from "../support/command.ts";
import { as, GROUP, prepare } from "../support/members.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

test("Cache of a group is used by all its members, whatever their umask", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  prepare(dir);
  dir.write({ src: { a: "content", sub: { b: "more" } } }, dir.at("one"));
  const root = dir.at("shared", "cache");
  Deno.mkdirSync(root);
  Deno.chownSync(root, 1001, GROUP);
  Deno.chmodSync(root, 0o2770);
  await must("chown", "-R", `1001:${GROUP}`, dir.at("one"));
  await must("chmod", "-R", "go=", dir.at("one", "src"));
  const { done: put } = await as(
    1001,
    0o77,
    "put",
    root,
    "key",
    dir.at("one", "src"),
  );
  assertEquals(put.files, 2);
  const { done: got } = await as(
    1002,
    0o77,
    "get",
    root,
    "key",
    dir.at("two", "out"),
  );
  assertEquals(got.outcome, "linked");
  assertEquals((await as(1002, 0o77, "entries", root)).done.length, 1);
  const { done: verified } = await as(1002, 0o77, "verify", root);
  assertEquals([verified.damaged, verified.failures], [[], []]);
  await as(1002, 0o77, "put", root, "other", dir.at("two", "out"));
  const { done: pruned } = await as(1001, 0o77, "prune", root);
  assertEquals([pruned.failures, pruned.evicted.length], [[], 2]);
  assertEquals(namesIn(`${root}/archive-v1`), []);
  assertEquals(namesIn(`${root}/tmp`), []);
});

test("Cache.verify() leaves alone what this user can't read", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  prepare(dir);
  dir.write({ src: { a: "content" } }, dir.at("one"));
  await must("chown", "-R", `1001:${GROUP}`, dir.at("one"));
  const root = dir.at("shared", "cache");
  const { done: { id } } = await as(
    1001,
    0o2,
    "put",
    root,
    "key",
    dir.at("one", "src"),
  );
  const archive = `${root}/archive-v1/${id}`;
  for (const path of ["tree/a", "tree", "manifest", ""]) {
    const { mode } = Deno.lstatSync(`${archive}/${path}`);
    Deno.chmodSync(`${archive}/${path}`, 0o700);
    const { done } = await as(1002, 0o2, "verify", root);
    assertEquals(done.damaged, [], path);
    assertEquals(done.failures[0].kind, "permission", path);
    Deno.chmodSync(`${archive}/${path}`, mode! & 0o7777);
  }
  assertEquals((await as(1001, 0o2, "verify", root)).done.archives, 1);
});

test("Cache keeps a tree whose top directory can't be written to", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  prepare(dir);
  dir.write({ src: { a: "content", sub: { b: "more" } } }, dir.at("one"));
  Deno.chmodSync(dir.at("one", "src", "sub"), 0o555);
  Deno.chmodSync(dir.at("one", "src"), 0o555);
  await must("chown", "-R", `1001:${GROUP}`, dir.at("one"));
  const root = dir.at("one", "cache");
  for (const what of ["put", "stage"]) {
    const { error } = await as(
      1001,
      0o22,
      what,
      root,
      what,
      dir.at("one", "src"),
    );
    assertEquals(error, undefined);
    const out = dir.at("one", `out-${what}`);
    const got = await as(1001, 0o22, "get", root, what, out);
    assertEquals(got.error, undefined);
    assertEquals(Deno.statSync(out).mode! & 0o777, 0o555);
  }
  const { done } = await as(1001, 0o22, "prune", root);
  assertEquals([done.failures, done.evicted.length], [[], 2]);
});

test("Cache says in one line that its root can't be read", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  prepare(dir);
  dir.write({ file: "" }, dir.at("one"));
  Deno.chmodSync(dir.at("shared"), 0o700);
  for (const root of [dir.at("shared"), dir.at("shared", "cache")]) {
    for (const what of ["get", "put", "entries", "prune", "verify"]) {
      const { error } = await as(
        1002,
        0o22,
        what,
        root,
        "key",
        dir.at("one", "file"),
      );
      assertEquals(error?.kind, "permission", what);
      assertEquals(error.message.split("\n").length, 1);
    }
  }
});

test(
  "Cache that everybody may write to is used by those who are not of its group",
  [
    "linux",
    "root",
  ],
  async () => {
    for (const mode of [0o2777, 0o3777]) {
      await using dir = TempDir.make();
      prepare(dir);
      dir.write({ src: { a: "content", sub: { b: "more" } } });
      const root = dir.at("cache");
      Deno.mkdirSync(root);
      Deno.chmodSync(root, mode); // of root's group
      const source = dir.at("src");
      for (const [user, key] of [[1001, "one"], [1002, "two"]] as const) {
        const { error } = await as(user, 0o22, "put", root, key, source);
        assertEquals(error, undefined);
      }
      for (const key of ["one", "two"]) {
        const out = dir.at("two", `out-${key}`);
        const { done } = await as(1002, 0o22, "get", root, key, out);
        assertEquals(done.outcome, "linked", key);
      }
      const { done } = await as(1002, 0o22, "verify", root);
      assertEquals([done.archives, done.damaged, done.failures], [2, [], []]);
    }
  },
);
