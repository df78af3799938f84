import { assert, assertEquals } from "@std/assert";
import { contentsOf, makeTree, same } from "./contents.ts";
import {
  assertNothingLeft,
  assertSame,
  assertTold,
  at,
  type Job,
  succeed,
} from "./faulty_job.ts";

/** What lies on the faulty file system. */
export type Where = "source" | "destination" | "both";

/** A tree, to where nothing is. */
export function linkJob(mode: string, where: Where): Job {
  return {
    name: `link --mode ${mode}, faulty ${where}`,
    async prepare(stage) {
      const source = at(
        where === "destination" ? stage.sound : stage.faulty,
        "source",
      );
      const beside = at(
        where === "source" ? stage.sound : stage.faulty,
        "place",
      );
      const target = at(beside, "target");
      Deno.mkdirSync(beside.real);
      makeTree(source.real, "new");
      const before = await contentsOf(source.real);
      const now = () => contentsOf(target.real, [source.seen, source.real]);
      const args = ["link", source.seen, target.seen, "--mode", mode];
      return {
        args,
        async judge(ran) {
          assertSame(await contentsOf(source.real), before, "the source");
          const got = await now();
          if (ran.code === 0) return assertSame(got, before, "the result");
          assertTold(ran, stage);
          assertSame(got, {}, "the result of what failed");
        },
        async recover() {
          await succeed([...args, "--if-exists", "replace"]);
          assertSame(await now(), before, "after recovery");
          assertNothingLeft(beside, ["target"]);
        },
      };
    },
  };
}

/** Into, or in place of, what is there. */
export function overJob(ifExists: "merge" | "replace", where: Where): Job {
  const fresh = linkJob("auto", where);
  return {
    name: `link --if-exists ${ifExists}, faulty ${where}`,
    async prepare(stage) {
      const ready = await fresh.prepare(stage);
      const [, source, target] = ready.args as [string, string, string];
      const real = (path: string) =>
        path.replace(stage.faulty.seen, stage.faulty.real);
      makeTree(real(target), "old");
      const theirs = `${real(target)}/sub/theirs`;
      Deno.writeTextFileSync(theirs, "not in the source");
      const before = await contentsOf(real(source));
      const old = await contentsOf(real(target));
      const wanted = ifExists === "replace" ? before : { ...old, ...before };
      const args = [...ready.args, "--if-exists", ifExists];
      return {
        args,
        async judge(ran) {
          assertSame(await contentsOf(real(source)), before, "the source");
          const got = await contentsOf(real(target));
          if (ran.code === 0) {
            return assertEquals(got, wanted, "the result");
          }
          assertTold(ran, stage);
          if (ifExists === "replace") {
            const whole = same(got, old) || same(got, before) || same(got, {});
            assert(
              whole,
              `neither old nor new nor nothing: ${Deno.inspect(got)}`,
            );
            if (ran.code === 2) assertSame(got, old, "of what was refused");
            return;
          }
          // Each file is one or the other, and none is missing.
          for (const [name, it] of Object.entries({ ...before, ...old })) {
            if (got[name] === undefined && old[name] === undefined) continue;
            assert(
              [old[name], before[name]].includes(got[name]),
              `${name}: ${got[name]}, was ${it}`,
            );
          }
        },
        async recover() {
          await succeed(args);
          assertEquals(await contentsOf(real(target)), wanted);
          const beside = { seen: target, real: `${real(target)}/..` };
          assertNothingLeft(beside, ["target"]);
        },
      };
    },
  };
}

/** One file. */
export function fileJob(where: Where): Job {
  return {
    name: `link FILE, faulty ${where}`,
    async prepare(stage) {
      const ready = await linkJob("auto", where).prepare(stage);
      const [, source, target, ...rest] = ready.args as [
        string,
        string,
        string,
      ];
      const real = (path: string) =>
        path.replace(stage.faulty.seen, stage.faulty.real);
      const before = await contentsOf(real(source));
      const wanted = await contentsOf(`${real(source)}/big`);
      const args = ["link", `${source}/big`, target, ...rest];
      return {
        args,
        async judge(ran) {
          assertSame(await contentsOf(real(source)), before, "the source");
          const got = await contentsOf(real(target));
          if (ran.code === 0) return assertSame(got, wanted, "the result");
          assertTold(ran, stage);
          assertSame(got, {}, "the result of what failed");
        },
        async recover() {
          await succeed([...args, "--if-exists", "replace"]);
          assertSame(await contentsOf(real(target)), wanted, "recovered");
        },
      };
    },
  };
}
