/**
 * The steps of .github/workflows/release.yml, in their order, in a clone with a tag:
 * what GitHub, JSR and the compiler do is done by the stand-ins of support/release.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { mismatches } from "../scripts/release/versions.ts";
import { denoRun, must, ROOT, run } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

const NEEDS = ["linux", "bash", "git", "tar", "curl", "sha256sum", "awk"];
const TAG = "v0.1.0";
const WORKFLOW = Deno.readTextFileSync(`${ROOT}/.github/workflows/release.yml`);

/** The steps that are scripts, by job, as the workflow has them. */
function stepsOf(job: string): string[] {
  const [, rest] = WORKFLOW.split(`\n  ${job}:\n`);
  const [text] = rest!.split(/\n {2}\w+:\n/);
  return [...text!.matchAll(/run: (scripts\/release\/.*)/g)]
    .map(([, step]) => step!);
}

const TARGETS = [...WORKFLOW.matchAll(/target: ([\w-]+)/g)]
  .map(([, target]) => target!);
const NATIVE = `${Deno.build.arch}-unknown-linux-gnu`;

/** What is enough of a binary for most steps. */
const VERSION_ONLY = `sh -c 'echo "rebuild-cache 0.1.0 (Deno ${
  Deno.readTextFileSync(`${ROOT}/.dvmrc`).trim()
})"'`;

/** A clone with the tag, its origin, and what stands in for the world. */
class Release {
  readonly #dir: TempDir;
  readonly #env: Record<string, string>;

  private constructor(dir: TempDir, env: Record<string, string>) {
    this.#dir = dir;
    this.#env = env;
  }

  /** @param cli The command that the binaries run. */
  static async make(dir: TempDir, cli = VERSION_ONLY): Promise<Release> {
    const [origin, clone] = [dir.at("origin.git"), dir.at("clone")];
    await must("git", "clone", "-q", "--bare", ROOT, origin);
    await must("git", "clone", "-q", origin, clone);
    const git = (...args: string[]) => {
      const who = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
      return must("git", "-C", clone, ...who, ...args);
    };
    // What is being worked on here, not only what is committed.
    for (const path of [".github", "scripts", "install.sh", "install.ps1"]) {
      await must("cp", "-a", `${ROOT}/${path}`, clone);
    }
    const changelog = `# Changelog\n\n## 0.1.0 — 2026-01-02\n\n- Notes.\n`;
    Deno.writeTextFileSync(`${clone}/CHANGELOG.md`, changelog);
    await git("add", "-A");
    await git("commit", "-qm", "chore: release 0.1.0");
    await git("tag", TAG);
    await git("push", "-q", "origin", "HEAD:refs/heads/released", TAG);
    const flags = denoRun("cli.ts").slice(2, -1).filter((it) =>
      !/^--(no-check|config)/.test(it)
    );
    return new Release(dir, {
      PATH: `${ROOT}/tests/support/release:${Deno.env.get("PATH")}`,
      GITHUB_REF_NAME: TAG,
      CALLS: dir.at("calls"),
      GH_STATE: dir.at("releases"),
      JSR_URL: `file://${dir.at("jsr")}`,
      REAL_DENO: Deno.execPath(),
      REAL_FLAGS: flags.join(" "),
      REAL_GIT: (await must("sh", "-c", "command -v git")).trim(),
      REAL_CLI: cli,
    });
  }

  /** Runs a job to its end or its failure, in a tree as a runner has it. */
  async job(name: string, failAt?: number): Promise<boolean> {
    const clone = this.#dir.at("clone");
    await must("git", "-C", clone, "clean", "-qfdx", "--exclude=/dist");
    for (const target of name === "binary" ? TARGETS : [""]) {
      // Each has a machine of its own; one of them is enough to fail on.
      const fails = failAt !== undefined && (!target || target === NATIVE);
      for (const step of stepsOf(name)) {
        const command = step.replaceAll("${{ matrix.target }}", target);
        // It has a test of its own.
        if (command.includes("/test.sh ")) continue;
        const ran = await this.step(command, fails ? failAt : undefined);
        if (ran.code === 0) continue;
        assert(failAt !== undefined, `${command}: ${ran.stdout}${ran.stderr}`);
        return false;
      }
    }
    return true;
  }

  /** Runs one step; the call that is named fails. */
  step(command: string, failAt?: number) {
    const env = { ...this.#env, ...failAt && { FAIL_AT: `${failAt}` } };
    return run(["bash", "-c", command], { cwd: this.#dir.at("clone"), env });
  }

  /** All that the world sees of it. */
  async seen() {
    const dir = this.#dir;
    const assets = dir.at("releases", TAG, "assets");
    await must("sh", "-c", `cd '${assets}' && sha256sum -c SHA256SUMS`);
    const commit = async (name: string) => {
      const args = ["--git-dir", dir.at("origin.git"), "rev-parse", name];
      return (await must("git", ...args)).trim();
    };
    const tagged = await commit(TAG);
    const published = dir.at("jsr", "@rebuild", "cache", "0.1.0_meta.json");
    return {
      state: Deno.readTextFileSync(dir.at("releases", TAG, "state")).trim(),
      notes: Deno.readTextFileSync(dir.at("releases", TAG, "notes")).trim(),
      assets: namesIn(assets),
      jsr: Deno.readTextFileSync(published).trim() === tagged,
      major: await commit("v0") === tagged,
    };
  }

  get calls(): number {
    return Number(Deno.readTextFileSync(this.#dir.at("calls.count")));
  }

  /** From here on they are counted anew. */
  recount(): void {
    Deno.writeTextFileSync(this.#dir.at("calls.count"), "0");
  }

  /** What the world had is gone. What was built stays. */
  async forget(): Promise<void> {
    const dir = this.#dir;
    await must("rm", "-rf", dir.at("releases"), dir.at("jsr"));
    const args = ["--git-dir", dir.at("origin.git"), "update-ref", "-d"];
    await must("git", ...args, "refs/tags/v0");
  }
}

const JOBS = ["binary", "draft", "publish"];

const SEEN = {
  state: "published",
  notes: "- Notes.",
  assets: [
    "SHA256SUMS",
    "install.ps1",
    "install.sh",
    ...TARGETS.map((it) =>
      `rebuild-cache-${it}.${it.includes("windows") ? "zip" : "tar.gz"}`
    ),
    "rebuild-cache.cdx.json",
  ].sort(),
  jsr: true,
  major: true,
};

test(
  "release.yml: its steps make a release, and change nothing if they run again",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const release = await Release.make(dir);
    assertEquals(TARGETS.length, 6);
    for (const _ of ["once", "twice"]) {
      for (const job of JOBS) await release.job(job);
      assertEquals(await release.seen(), SEEN);
    }
    const calls = Deno.readTextFileSync(dir.at("calls")).split("\n");
    const count = (start: string) =>
      calls.filter((it) => it.startsWith(start)).length;
    assertEquals(count("gh release create"), 1);
    assertEquals(count("gh release upload"), 1);
    assertEquals(count("deno publish"), 1);
    const [compile] = calls.filter((it) => it.startsWith("deno compile"));
    assertStringIncludes(compile!, `-A --no-code-cache --frozen --target`);
    const listed = await must(
      ...["tar", "-tzf"],
      dir.at("releases", TAG, "assets", `rebuild-cache-${NATIVE}.tar.gz`),
    );
    for (const name of ["rebuild-cache", "rebuild-cache.1", "LICENSE"]) {
      assert(listed.split("\n").includes(name), listed);
    }
  },
);

test(
  "release.yml: after a failure at any call, its job can be run again",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const release = await Release.make(dir);
    const failed: string[] = [];
    for (const [index, job] of JOBS.entries()) {
      for (let call = 1;; call++) {
        await release.forget();
        for (const before of JOBS.slice(1, index)) await release.job(before);
        release.recount();
        if (await release.job(job, call)) break;
        failed.push(Deno.readTextFileSync(dir.at("calls.failed")));
        for (const after of JOBS.slice(index)) await release.job(after);
        assertEquals(await release.seen(), SEEN, failed.at(-1));
      }
    }
    const all = failed.join("");
    for (
      const what of [
        ...["deno compile", "gh release view", "gh release create"],
        ...["gh release upload", "gh uploads", "gh release download"],
        ...["gh release edit", "git clone", "deno publish", "git ls-remote"],
        "git push",
      ]
    ) assertStringIncludes(all, `${what}: failed`);
  },
);

test(
  "release.yml: the binary is tested with the tests of the command line",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const cli = [Deno.execPath(), ...denoRun("cli.ts")].join(" ");
    const release = await Release.make(dir, cli);
    const build = await release.step(`scripts/release/build.sh ${NATIVE}`);
    assertEquals(build.code, 0, build.stderr);
    const step = stepsOf("binary").find((it) => it.includes("/test.sh "))!
      .replace("${{ matrix.target }}", NATIVE);
    const { code, stdout, stderr } = await release.step(
      `${step} tests/cli/json_test.ts`,
    );
    assertEquals(code, 0, stdout + stderr);
    assertStringIncludes(stdout, "It works");
    assertStringIncludes(stdout, "1 passed");
  },
);

Deno.test("the workflows and the action use nothing of others but by its digest", () => {
  const files = namesIn(`${ROOT}/.github/workflows`)
    .map((name) => `${ROOT}/.github/workflows/${name}`);
  let count = 0;
  for (const file of [...files, `${ROOT}/action.yml`]) {
    const text = Deno.readTextFileSync(file);
    for (const [line, what] of text.matchAll(/uses: (\S+)(.*)/g)) {
      if (/^(\.\/|docker:)/.test(what!)) continue;
      assert(/@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line), `${file}: ${line}`);
      count++;
    }
  }
  assert(count > 10);
});

Deno.test("release.yml attests the binaries themselves, and is not started by v0", () => {
  const binary = /actions\/attest@.*\s+with:\s+subject-path: \|\s+(.*)/;
  const [, subject] = binary.exec(WORKFLOW)!;
  assertEquals(subject, "dist/${{ matrix.target }}/rebuild-cache*");
  const [, tags] = /tags: \["(.*)"\]/.exec(WORKFLOW)!;
  // As GitHub reads it: + is one or more, . is a dot, * is anything.
  const pattern = tags!.replaceAll(".", "\\.").replace(/\*$/, ".*");
  for (const tag of ["v0", "v1", "vx.1.0"]) {
    assertEquals(new RegExp(`^${pattern}$`).test(tag), false, tag);
  }
  for (const tag of ["v0.1.0", "v10.2.30", "v1.0.0-rc.1"]) {
    assertEquals(new RegExp(`^${pattern}$`).test(tag), true, tag);
  }
});

Deno.test("mismatches() names what is not of the tag's version", () => {
  const right = {
    tag: TAG,
    config: '{ "version": "0.1.0" }',
    changelog: "# Changelog\n\n## 0.1.0 — 2026-01-02\n\n- It works.\n",
    deno: "2.9.5\n",
    says: "rebuild-cache 0.1.0 (Deno 2.9.5)\n",
  };
  assertEquals(mismatches(right), []);
  assertEquals(mismatches({ ...right, says: undefined }), []);
  const { changelog } = right;
  for (
    const [wrong, named] of [
      [{ tag: "v0.1.1" }, "deno.json has 0.1.0"],
      [{ says: "rebuild-cache 0.1.1 (Deno 2.9.5)" }, "The binary says"],
      [{ says: "rebuild-cache 0.1.0 (Deno 2.9.6)" }, "The binary says"],
      [{ changelog: "" }, 'no section "## 0.1.0"'],
      [{ changelog: changelog.replace(/ — .*/, "") }, "has no date"],
      [{ changelog: changelog.replace("- It works.", "") }, "says nothing"],
      [{
        changelog: changelog.replace("## ", "## Unreleased\n\n- More\n\n## "),
      }, "Unreleased"],
    ] as const
  ) {
    const lines = mismatches({ ...right, ...wrong });
    assertEquals(lines.length, 1, lines.join("\n"));
    assertStringIncludes(lines[0]!, named);
  }
});
