import { assert, assertEquals } from "@std/assert";
import { runCli } from "./command.ts";
import { type Contents, contentsOf, makeTree, same } from "./contents.ts";
import { assertSame, assertTold, at, type Job, succeed } from "./faulty_job.ts";
import { namesIn } from "./temp_dir.ts";

/** A directory, with others beside it. */
export function clearJob(flags: string[]): Job {
  return {
    name: ["clear", ...flags].join(" "),
    async prepare(stage) {
      const { seen, real } = at(stage.faulty, "cache");
      makeTree(real, "old");
      makeTree(`${stage.faulty.real}/beside`, "beside");
      const old = await contentsOf(real);
      const beside = await contentsOf(`${stage.faulty.real}/beside`);
      const empty = flags.includes("--recreate")
        ? { ".": old["."]! }
        : {} as Contents;
      const args = ["--dir", seen, ...flags];
      const assertBeside = async () =>
        assertSame(
          await contentsOf(`${stage.faulty.real}/beside`),
          beside,
          "what lies beside",
        );
      return {
        args,
        async judge(ran) {
          await assertBeside();
          const got = await contentsOf(real);
          if (ran.code === 0) {
            assertSame(got, empty, "what was cleared");
            const names = ["beside", ...flags.length ? ["cache"] : []];
            return assertEquals(namesIn(stage.faulty.real), names);
          }
          assertTold(ran, stage);
          const whole = same(got, old) || same(got, empty) || same(got, {});
          assert(whole, `half cleared: ${Deno.inspect(got)}`);
          if (ran.code === 2) assertSame(got, old, "of what was refused");
        },
        async recover() {
          await succeed(args);
          await assertBeside();
          // Nothing that a failed run left aside is there any more.
          const names = namesIn(stage.faulty.real);
          assertEquals(names.filter((it) => it !== "cache"), ["beside"]);
        },
      };
    },
  };
}

/** What a keyed cache on the faulty file system is asked to do. */
export interface Asked {
  name: string;
  /** The arguments, and what `key` may hold afterwards. */
  args(root: string, source: string, target: string): string[];
  /** Whether the key is there before. */
  had: boolean;
  puts?: true;
  gets?: true;
  /** What standard output says of a success. */
  says?: string;
}

export function cacheJob(asked: Asked): Job {
  return {
    name: asked.name,
    async prepare(stage) {
      const root = `${stage.faulty.seen}/root`;
      const [oldSource, newSource] = ["old", "new"].map((version) => {
        const path = `${stage.sound.real}/${version}`;
        makeTree(path, version);
        return path;
      }) as [string, string];
      const [old, fresh] = [
        await contentsOf(oldSource),
        await contentsOf(newSource),
      ];
      if (asked.had) await succeed(["put", "key", oldSource, "--dir", root]);
      const target = `${stage.sound.real}/target`;
      const get = async (): Promise<Contents> => {
        const to = `${stage.sound.real}/${crypto.randomUUID()}`;
        const ran = await runCli(["get", "key", to, "--dir", root]);
        if (ran.code !== 0 && asked.had) {
          throw new Error(`The key is lost: ${ran.stderr}`);
        }
        assert([0, 1, 4].includes(ran.code), ran.stderr);
        return await contentsOf(to);
      };
      return {
        args: asked.args(root, newSource, target),
        async judge(ran) {
          assertSame(await contentsOf(newSource), fresh, "the source");
          const wanted = asked.had && !asked.puts ? old : fresh;
          const got = await contentsOf(target);
          const held = await get();
          if (ran.code === 0) {
            if (asked.gets) assertSame(got, wanted, "the result");
            assertSame(held, wanted, "what the key holds");
            if (asked.says) assert(ran.stdout.includes(asked.says), ran.stdout);
            return;
          }
          assertTold(ran, stage);
          assertSame(got, {}, "the result of what failed");
          const may = [old, fresh, ...asked.had ? [] : [{}]];
          assert(
            may.some((it) => same(held, it)),
            `the key holds neither: ${Deno.inspect(held)}`,
          );
          if (asked.had && !asked.puts) assertSame(held, old, "what was put");
        },
        async recover() {
          await succeed(["put", "key", newSource, "--dir", root]);
          await succeed(["verify", "--dir", root]);
          assertSame(await get(), fresh, "put again");
        },
      };
    },
  };
}
