/**
 * A reset of a cached file beside everybody else who uses the cached tree, and a link
 * of a tree that is rebuilt: each gets one version, whole.
 */

import { assert, assertEquals } from "@std/assert";
import {
  cliCommand,
  must,
  Peer,
  type Ran,
  run,
  runCli,
} from "../support/command.ts";
import { archiveIn } from "../support/forged.ts";
import { ALL, program } from "../support/library.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const FILES = 40;
const many = Object.fromEntries(
  Array.from({ length: FILES }, (_, i) => [`file-${i}`, `content ${i}`]),
);

/** Links the tree again and again; each link resets all files that are full. */
const RESETS = `import { linkTree } from "LIBRARY";
  const [src, to, times, lenient] = Deno.args;
  for (let i = 0; i < Number(times); i++) {
    const options = { mode: "hardlink", maxLinks: 2, jobs: 1 };
    const linked = linkTree(src, to + "/" + i, options);
    // Of a file that is replaced at that instant, the kernel links nothing.
    await (lenient ? linked.catch(() => {}) : linked);
  }
  console.log("did it");`;

// What stands in the tree meanwhile is seen by nobody, links included.
test("linkTree() shows nobody else what it makes for a reset", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: many, a: {}, b: {}, c: {} });
  await using peers = new AsyncDisposableStack();
  const running = ["a", "b"].map((name) => {
    const args = [dir.at("src"), dir.at(name), "60"];
    return peers.use(new Peer(program(dir, RESETS, ALL, args)));
  });
  // Whoever lists the tree, a thousand times.
  const strange = new Set<string>();
  let looks = 0;
  while (running.some((it) => !it.over)) {
    for (const { name } of Deno.readDirSync(dir.at("src"))) {
      if (!(name in many)) strange.add(name);
    }
    looks++;
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  for (const it of running) {
    const { code, heard } = await it.end();
    assertEquals([code, heard], [0, "did it\n"]);
  }
  assertEquals([...strange].slice(0, 3), [], `${strange.size} in ${looks}`);
  for (const name of ["a", "b"]) {
    for (const i of namesIn(dir.at(name))) {
      const names = namesIn(dir.at(name, i));
      assertEquals(names, Object.keys(many).sort(), `${name}/${i}`);
    }
  }
  assertEquals(namesIn(dir.at("src")), Object.keys(many).sort());
});

// An archive is whole, whatever is linked from it at that instant.
test("rebuild-cache verify takes no archive for damaged that is reset", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: many, a: {} });
  const root = ["--dir", dir.at("root")];
  await must(...cliCommand(["put", "key", dir.at("src"), ...root]));
  const tree = `${archiveIn(dir.at("root"))}/tree`;
  const args = [tree, dir.at("a"), "150"];
  await using peer = new Peer(program(dir, RESETS, ALL, args));
  do {
    const ran = await runCli(["verify", ...root]);
    assertEquals(ran.code, 0, ran.stderr);
  } while (!peer.over);
  const { code, heard } = await peer.end();
  assertEquals([code, heard], [0, "did it\n"]);
  const got = await runCli(["get", "key", dir.at("out"), ...root]);
  assertEquals(got.code, 0, got.stderr);
});

// A publisher's atomic rename of the cached file is never undone.
test("linkTree() never undoes a replacement of the cached file by a reset", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: { file: "0" }, a: {} });
  const args = [dir.at("src"), dir.at("a"), "1500", "lenient"];
  await using peer = new Peer(program(dir, RESETS, ALL, args));
  const undone: string[] = [];
  const path = dir.at("src/file");
  let n = 0;
  while (!peer.over) {
    const next = `${++n}`;
    Deno.writeTextFileSync(dir.at("next"), next);
    Deno.renameSync(dir.at("next"), path);
    // For an instant it may be, between two looks of who resets; not for good.
    const isUndone = async () => {
      await new Promise((resolve) => setTimeout(resolve, 3));
      return Deno.readTextFileSync(path) !== next;
    };
    if (await isUndone() && await isUndone() && await isUndone()) {
      undone.push(`${Deno.readTextFileSync(path)} is there after ${next}`);
    }
  }
  assert(n > 10, `${n}`);
  const { heard } = await peer.end();
  assert(heard.includes("did it"), heard);
  assertEquals(undone.slice(0, 3), [], `${undone.length} of ${n}`);
});

/** Builds a tree in which each file says which version it is. */
const BUILD = `i=0
  while [ $i -lt 60 ]; do
    mkdir "$1/$i"
    for j in 1 2 3 4 5 6 7 8; do echo "$2" > "$1/$i/$j"; done
    i=$((i + 1))
  done`;

function build(at: string, version: number): Promise<Ran> {
  const command = ["sh", "-c", BUILD, "sh", "{}", `${version}`];
  return runCli(["--dir", at, "--", ...command]);
}

for (const mode of ["hardlink", "copy"]) {
  test(
    `rebuild-cache link --mode ${mode} gives one version of a tree that is rebuilt`,
    ["posix", "sh"],
    async () => {
      await using dir = TempDir.make();
      const src = dir.at("src");
      assertEquals((await build(src, 0)).code, 0);
      let version = 0;
      let done = false;
      const rebuilds = (async () => {
        while (!done) {
          const { code, stderr } = await build(src, ++version);
          assertEquals(code, 0, stderr);
        }
      })();
      try {
        for (let n = 0; n < 12; n++) {
          const links = [0, 1].map(async (which) => {
            const out = dir.at(`out-${n}-${which}`);
            const args = ["link", src, out, "--mode", mode];
            const ran = await runCli(args);
            assertEquals(ran.code, 0, ran.stderr);
            const { stdout } = await run([
              "sh",
              "-c",
              'cd "$1"; cat */* | sort | uniq -c; find . -type f | wc -l',
              "sh",
              out,
            ]);
            assert(/^ *480 \d+\n *480\n$/.test(stdout), `a mixture: ${stdout}`);
          });
          await Promise.all(links);
        }
      } finally {
        done = true;
        await rebuilds;
      }
      assert(version > 2, "it was not rebuilt meanwhile");
    },
  );
}
