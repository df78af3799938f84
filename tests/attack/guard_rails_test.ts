/**
 * What is never cleared or replaced, whatever flags say:
 * the home directory, the working directory, what contains them, what is in use.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { cliCommand, must, Peer, run, runCli } from "../support/command.ts";
import { ALL, READ_WRITE, runProgram } from "../support/library.ts";
import { unchanged } from "../support/look.ts";
import { mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const here = import.meta.url;
const HOME = {
  ".ssh": { id: "secret" },
  ".profile": "PATH=x",
  ".bashrc": "alias x=y",
  documents: { letter: "dear" },
};
const RAN = "ran";

/** A tree, a cache that has it, and a place that must stay. */
async function make(dir: TempDir) {
  dir.write({
    src: { new: "x" },
    top: { home: HOME, work: { ".git": { HEAD: "ref" }, sub: {} } },
  });
  const root = dir.at("root");
  const put = ["put", "--dir", root, "key", dir.at("src")];
  await must(...cliCommand(put));
  return { root, src: dir.at("src"), top: dir.at("top") };
}

/** Another home, in which Deno itself keeps nothing. */
async function homeAt(home: string): Promise<Record<string, string>> {
  const info = JSON.parse(await must(Deno.execPath(), "info", "--json"));
  return { HOME: home, DENO_DIR: info.denoDir };
}

/** Every command that puts a tree somewhere. COMMAND says that it ran. */
function commands(dir: TempDir, dst: string, ...flags: string[]): string[][] {
  const root = dir.at("root");
  const script = 'echo x > "$1/new"; echo x > "$2"';
  const build = ["--", "sh", "-c", script, "sh", "{}", dir.at(RAN)];
  return [
    ["link", dir.at("src"), dst, ...flags],
    ["get", "--dir", root, "key", dst, ...flags],
    ["ensure", "--dir", root, "key", dst, ...flags, ...build],
    ["ensure", "--dir", root, "missing", dst, ...flags, ...build],
  ];
}

/** Where a user stands, and what they name from there. */
const PLACES: Record<string, [cwd: string, dst: (top: string) => string]> = {
  "the home directory": ["work", (top) => `${top}/home`],
  "what contains the home directory": ["/", (top) => top],
  "the working directory": ["work", () => "."],
  "the working directory by its path": ["work", (top) => `${top}/work`],
  "what contains the working directory": ["work/sub", () => ".."],
};

for (const [what, [cwd, dst]] of Object.entries(PLACES)) {
  test(
    `rebuild-cache link, get and ensure refuse to replace ${what}`,
    ["posix", "sh"],
    async () => {
      await using dir = TempDir.make();
      const { top } = await make(dir);
      const same = unchanged(top);
      const options = {
        cwd: cwd === "/" ? dir.path : `${top}/${cwd}`,
        env: await homeAt(`${top}/home`),
      };
      const flags = ["--if-exists", "replace"];
      for (const args of commands(dir, dst(top), ...flags)) {
        const { code, stderr } = await runCli(args, options);
        same(`after ${args.join(" ")}`);
        assertEquals(code, 2, `${args.join(" ")}: ${stderr}`);
        assertEquals(exists(dir.at(RAN)), false, "COMMAND ran before that");
        assertEquals(namesIn(dir.path), ["root", "src", "top"]);
      }
    },
  );
}

// An error never advises what destroys.
test(
  "rebuild-cache link, get and ensure do not advise to delete what stands in their way without saying so",
  ["posix", "sh"],
  async () => {
    await using dir = TempDir.make();
    const { top } = await make(dir);
    for (const dst of [`${top}/home`, `${top}/work`]) {
      for (const args of commands(dir, dst)) {
        const options = { env: await homeAt(`${top}/home`) };
        const { code, stderr } = await runCli(args, options);
        assert(code !== 0, `${args.join(" ")} went well`);
        assertStringIncludes(stderr, dst);
        // Some of the flag's values delete nothing.
        const harmless = /(--if-exists|ifExists:?) "?(skip|merge|update)"?/g;
        if (/if-?exists|replace/i.test(stderr.replace(harmless, ""))) {
          const says = /delet|remov|destroy|los[et]/i;
          assert(
            says.test(stderr),
            `what the flag does is not said: ${stderr}`,
          );
        }
      }
    }
  },
);

// Leases on it hold.
test(
  "rebuild-cache get and ensure exit with 75 when the DST that they would replace is in use",
  ["posix", "sh"],
  async () => {
    await using dir = TempDir.make();
    const { top } = await make(dir);
    const dst = `${top}/work`;
    await using user = await use(dst);
    const same = unchanged(dst);
    for (const busy of [["--if-busy", "fail"], ["--wait", "0"]]) {
      const flags = ["--if-exists", "replace", ...busy];
      // link has no such flags in every version; it is told below.
      for (const args of commands(dir, dst, ...flags).slice(1)) {
        const { code, stderr } = await runCli(args);
        same(`after ${args.join(" ")}`);
        assertEquals(code, 75, `${args.join(" ")}: ${stderr}`);
        assertStringIncludes(stderr, dst);
      }
    }
    assertEquals(user.over, false);
  },
);

test(
  "rebuild-cache link waits when the DST that it would replace is in use",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    const { src, top } = await make(dir);
    const dst = `${top}/work`;
    await using user = await use(dst);
    const same = unchanged(dst);
    const args = ["link", src, dst, "--mode", "copy", "--if-exists", "replace"];
    await using link = Peer.cli(args);
    // However slow the machine: what waits does not end.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    same("while it was in use");
    assertEquals(link.over, false, link.heard);
    await user.end();
    const { code, heard } = await link.end();
    assertEquals([code, namesIn(dst)], [0, ["new"]], heard);
  },
);

/** A process that uses a directory until it is ended. */
async function use(dir: string): Promise<Peer> {
  const command = ["sh", "-c", "echo using; cat"];
  const user = Peer.cli(["use", "--dir", dir, "--", ...command]);
  await user.says("using");
  return user;
}

// The user's home is told by HOME, which may not be read, and by passwd(5).
mountTest(
  here,
  "clearCache() refuses the home directory when a program may read and write only",
  [],
  async (dir) => {
    dir.write({ top: { home: HOME } });
    const home = dir.at("top/home");
    const passwd = `root:x:0:0:root:${home}:/bin/sh\n`;
    dir.write({ passwd });
    await must("mount", "--bind", dir.at("passwd"), "/etc/passwd");
    const same = unchanged(dir.at("top"));
    const text = `import { clearCache, linkTree, rebuildCache } from "LIBRARY";
      const [what, dir] = Deno.args as [string, string];
      if (what === "clear") await clearCache(dir);
      if (what === "recreate") await clearCache(dir, { recreate: true });
      if (what === "rebuild") await rebuildCache(dir, () => {});
      if (what === "replace") {
        const src = Deno.makeTempDirSync({ dir: Deno.args[2]! });
        await linkTree(src, dir, { mode: "copy", ifExists: "replace" });
      }`;
    dir.write({ sources: {} });
    for (const what of ["clear", "recreate", "rebuild", "replace"]) {
      for (const place of [home, dir.at("top")]) {
        const args = [what, place, dir.at("sources")];
        const options = { env: await homeAt(home) };
        const ran = await runProgram(dir, text, READ_WRITE, args, options);
        same(`after ${what} of ${place}`);
        assert(ran.code !== 0, `${what} of ${place} is told as done`);
        assertStringIncludes(ran.stderr, place);
      }
    }
  },
);

for (const way of ["the command line", "the library"]) {
  test(
    `a clear takes a parent behind a symbolic link as the OS does, or refuses it, by ${way}`,
    ["posix"],
    async () => {
      await using dir = TempDir.make();
      dir.write({
        P: { x: { kept: "x", sub: { too: "x" } } },
        elsewhere: { deep: {}, file: "y" },
      });
      Deno.symlinkSync(dir.at("elsewhere/deep"), dir.at("P/x/l"));
      const same = unchanged(dir.at("P"));
      const named = `${dir.path}/P/x/l/..`;
      const text = `import { clearCache } from "LIBRARY";
        await clearCache(Deno.args[0]!);`;
      const ran = way === "the library"
        ? await runProgram(dir, text, ALL, [named])
        : await runCli(["--dir", named]);
      same("although another directory was meant");
      if (ran.code === 0) assertEquals(exists(dir.at("elsewhere")), false);
      else assertEquals(exists(dir.at("elsewhere/file")), true);
    },
  );
}

// The same path as a destination, and as a directory to rebuild.
test(
  "rebuild-cache takes a parent behind a symbolic link as the OS does, or refuses it, wherever it replaces",
  ["posix", "sh"],
  async () => {
    await using dir = TempDir.make();
    const { src } = await make(dir);
    dir.write({ P: { x: { kept: "x" } }, elsewhere: { deep: {} } });
    Deno.symlinkSync(dir.at("elsewhere/deep"), dir.at("P/x/l"));
    const same = unchanged(dir.at("P"));
    const named = `${dir.path}/P/x/l/..`;
    const build = ["--", "sh", "-c", 'echo x > "$1/new"', "sh", "{}"];
    for (
      const args of [
        ["link", src, named, "--mode", "copy", "--if-exists", "replace"],
        ["link", src, named, "--mode", "copy", "--if-exists", "merge"],
        [
          "get",
          "--dir",
          dir.at("root"),
          "key",
          named,
          "--if-exists",
          "replace",
        ],
        ["--dir", named, ...build],
        ["--dir", named, "--recreate"],
      ]
    ) {
      const { stderr } = await runCli(args);
      same(`after ${args.join(" ")}: ${stderr}`);
      dir.write({ elsewhere: { deep: {} } });
    }
  },
);

// Whose path leads where, only the other one knows.
for (const where of ["in another user's directory", "in our own"]) {
  const theirs = where !== "in our own";
  test(
    `rebuild-cache --dir without FFI ${
      theirs ? "touches nothing" : "clears what others can write to"
    } ${where}`,
    ["linux", "root", "deno run"],
    async () => {
      await using dir = TempDir.make();
      dir.write({ place: { cache: { deep: { file: "x" } } } });
      Deno.chmodSync(dir.at("place/cache"), 0o777);
      if (theirs) Deno.chownSync(dir.at("place"), 65534, 65534);
      const [program, ...rest] = cliCommand(["--dir", dir.at("place/cache")]);
      rest.splice(1, 0, "--deny-ffi");
      const { code, stderr } = await run([program!, ...rest]);
      assertEquals(code, theirs ? 2 : 0, stderr);
      if (theirs) assertStringIncludes(stderr, "Grant --allow-ffi");
      assertEquals(namesIn(dir.at("place")), theirs ? ["cache"] : []);
    },
  );
}
