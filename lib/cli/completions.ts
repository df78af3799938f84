/**
 * Completions for shells, from the table that the parser goes by.
 *
 * @module
 */

import { COMMANDS } from "./commands.ts";
import { EXIT } from "./ending.ts";
import type { Flag } from "./flag.ts";
import {
  type Call,
  CLEAR,
  COMMON,
  type COMPLETIONS,
  REBUILD,
} from "./flags.ts";
import { print, printJson } from "./output.ts";

/** `rebuild-cache completions SHELL` */
export function run({ values }: Call<typeof COMPLETIONS>): number {
  const text = SHELLS[values.shell]();
  if (values.json) printJson("completions", { result: { text } });
  else print(text.trimEnd());
  return EXIT.done;
}

const SHELLS = { bash, zsh, fish, powershell };

/** What can be completed behind a command, or, without a name, before one. */
interface Completed {
  readonly name: string;
  readonly flags: readonly Flag[];
  /** The words that it takes, if not paths or keys. */
  readonly words: readonly string[] | undefined;
}

/** `--dir DIR` alone, with the flags of both that it stands for. */
const UNNAMED: Completed = {
  name: "",
  flags: [
    ...new Map<string, Flag>(
      [...CLEAR.flags, ...REBUILD.flags, ...COMMON]
        .map((it) => [it.name, it]),
    ).values(),
  ],
  words: [],
};

const NAMED: readonly (Completed & { readonly summary: string })[] = COMMANDS
  .map(({ name, flags, words, summary }) => ({
    name,
    summary,
    flags: [...flags, ...COMMON],
    words: name === "help"
      ? COMMANDS.map((it) => it.name)
      : words.length === 0
      ? []
      : words[0]!.choices && Object.keys(words[0]!.choices),
  }));

const ALL: readonly Completed[] = [UNNAMED, ...NAMED];
const NAMES = NAMED.map(({ name }) => name);

/** All spellings of a flag. */
const spellings = ({ name, short }: Flag) => [
  `--${name}`,
  ...short ? [`-${short}`] : [],
];

/** All spellings of the flags that may stand before a command. */
const COMMON_SPELLINGS = COMMON.flatMap(spellings);

const choicesOf = ({ choices = {} }: Flag) => Object.entries(choices);
const takesValue = ({ kind }: Flag) => kind !== "switch";

function bash(): string {
  const cases = ALL.flatMap(({ name, flags }) =>
    flags.filter(takesValue).map((flag) => {
      const { kind } = flag;
      const how = kind === "choice"
        ? `-W "${choicesOf(flag).map(([word]) => word).join(" ")}"`
        : kind === "directory"
        ? "-d"
        : kind === "path"
        ? "-f"
        : undefined;
      const does = how ? `_rebuild_cache_reply ${how}` : ":";
      return `    "${name} --${flag.name}") ${does}; return ;;`;
    })
  );
  const flags = ALL.map(({ name, flags }) =>
    `      "${name}") words="${flags.flatMap(spellings).join(" ")}" ;;`
  );
  const words = NAMED.filter(({ words }) => words).map(({ name, words }) =>
    `    ${name}) _rebuild_cache_reply -W "${words!.join(" ")}"; return ;;`
  );
  return `# bash completion of rebuild-cache
_rebuild_cache_reply() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen "$@" -- "$current")
}
_rebuild_cache() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  local command= words= i first=1
  COMPREPLY=()
  # As it is meant, without the shell's quotes.
  current=\${current#[\\"\\']}
  current=\${current//\\\\/}
  if [ "$current" = = ]; then
    current=
  elif [ "$previous" = = ] && [ "$COMP_CWORD" -gt 1 ]; then
    previous=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      --) _rebuild_cache_reply -c -f; return ;;
    esac
    [ "$first" ] || continue
    case \${COMP_WORDS[i]} in
      ${COMMON_SPELLINGS.join("|")}) ;;
      ${NAMES.join("|")}) command=\${COMP_WORDS[i]} first= ;;
      *) first= ;;
    esac
  done
  case "$command $previous" in
${cases.join("\n")}
  esac
  if [[ $current == -* ]]; then
    case "$command" in
${flags.join("\n")}
    esac
    _rebuild_cache_reply -W "$words"
    return
  fi
  if [ "$first" ]; then
    _rebuild_cache_reply -W "${NAMES.join(" ")}"
    return
  fi
  case "$command" in
${words.join("\n")}
  esac
  _rebuild_cache_reply -f
}
complete -o filenames -F _rebuild_cache rebuild-cache
`;
}

function zsh(): string {
  const quote = (text: string) => text.replaceAll("'", "'\\''");
  const escape = (text: string) => quote(text).replaceAll(/[[\]:]/g, "\\$&");
  const spec = (flag: Flag) => {
    const { doc, value = "", kind } = flag;
    const name = value.toLowerCase();
    const repeat = flag.repeat ? "*" : "";
    const choices = choicesOf(flag).map(([word, means]) =>
      `${word}\\:"${escape(means)}"`
    );
    const action = kind === "switch"
      ? ""
      : kind === "choice"
      ? `:${name}:((${choices.join(" ")}))`
      : kind === "directory"
      ? `:${name}:_files -/`
      : kind === "path"
      ? `:${name}:_files`
      : `:${name}: `;
    return spellings(flag).map((spelled) =>
      `'${repeat}${spelled}[${escape(doc)}]${action}'`
    );
  };
  const argumentsOf = ({ flags, words }: Completed) => {
    const rest = !words
      ? [`'*:path:_files'`]
      : words.length > 0
      ? [`'1:word:(${words.join(" ")})'`]
      : [];
    return [...flags.flatMap(spec), ...rest].join(" \\\n        ");
  };
  return `#compdef rebuild-cache
# zsh completion of rebuild-cache
_rebuild_cache() {
  local -a commands
  if (( \${words[(I)--]} && \${words[(I)--]} < CURRENT )); then
    words=(\${words[$(( \${words[(I)--]} + 1 )),-1]})
    (( CURRENT = \${#words} ))
    _normal
    return
  fi
  while (( CURRENT > 2 )) && [[ $words[2] == (${
    COMMON_SPELLINGS.join("|")
  }) ]]; do
    words[2]=()
    (( CURRENT-- ))
  done
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    commands=(
${NAMED.map((it) => `      '${it.name}:${quote(it.summary)}'`).join("\n")}
    )
    _describe command commands
    return
  fi
  case $words[2] in
${
    NAMED.map((it) =>
      `    ${it.name})
      shift words
      (( CURRENT-- ))
      _arguments ${argumentsOf(it)} ;;`
    ).join("\n")
  }
    *)
      _arguments ${argumentsOf(UNNAMED)} ;;
  esac
}
if [ "$funcstack[1]" = _rebuild_cache ]; then
  _rebuild_cache "$@"
else
  compdef _rebuild_cache rebuild-cache
fi
`;
}

function fish(): string {
  const quote = (text: string) =>
    `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const condition = ({ name }: Completed) =>
    quote(
      name
        ? `__fish_seen_subcommand_from ${name}`
        : `not __fish_seen_subcommand_from ${NAMES.join(" ")}`,
    );
  // Each value with a description of its own.
  const values = (flag: Flag) =>
    quote(
      choicesOf(flag).map(([word, means]) => `${word}\\t"${means}"`).join(" "),
    );
  const lines = NAMED.map(({ name, summary }) =>
    `complete -c rebuild-cache -n __fish_use_subcommand -f -a ${name} -d ${
      quote(summary)
    }`
  );
  for (const completed of ALL) {
    for (const flag of completed.flags) {
      const { name, short, kind, doc } = flag;
      lines.push(
        [
          `complete -c rebuild-cache -n ${condition(completed)}`,
          `-l ${name}`,
          ...short ? [`-s ${short}`] : [],
          ...kind === "choice"
            ? [`-x -a ${values(flag)}`]
            : kind === "directory"
            ? ["-x -a '(__fish_complete_directories)'"]
            : kind === "path"
            ? ["-r"]
            : kind === "switch"
            ? []
            : ["-x"],
          `-d ${quote(doc)}`,
        ].join(" "),
      );
    }
    if (!completed.name || !completed.words) continue;
    const words = completed.words.length > 0
      ? ` -a ${quote(completed.words.join(" "))}`
      : "";
    lines.push(
      `complete -c rebuild-cache -n ${condition(completed)} -f${words}`,
    );
  }
  return `# fish completion of rebuild-cache\n${lines.join("\n")}\n`;
}

function powershell(): string {
  const list = (words: readonly string[]) =>
    `@(${words.map((word) => `'${word.replaceAll("'", "''")}'`).join(", ")})`;
  const flags = ALL.map(({ name, flags }) =>
    `    '${name}' = ${list(flags.flatMap(spellings))}`
  );
  const values = ALL.flatMap(({ name, flags }) =>
    flags.filter(({ choices }) => choices).map((flag) =>
      `    '${name} --${flag.name}' = ${
        list(choicesOf(flag).map(([word]) => word))
      }`
    )
  );
  const words = NAMED.filter(({ words }) => words?.length)
    .map(({ name, words }) => `    '${name}' = ${list(words!)}`);
  return `# PowerShell completion of rebuild-cache
Register-ArgumentCompleter -Native -CommandName rebuild-cache -ScriptBlock {
  param($word, $ast, $cursor)
  $commands = ${list(NAMES)}
  $common = ${list(COMMON_SPELLINGS)}
  $flags = @{
${flags.join("\n")}
  }
  $values = @{
${values.join("\n")}
  }
  $words = @{
${words.join("\n")}
  }
  $typed = @($ast.CommandElements | ForEach-Object { $_.ToString() })
  if ($word) { $typed = @($typed | Select-Object -SkipLast 1) }
  $typed = @($typed | Select-Object -Skip 1)
  $first = $typed | Where-Object { $common -notcontains $_ } | Select-Object -First 1
  $command = if ($first -and $commands -contains $first) { $first } else { '' }
  $found = if ($typed -and $values.ContainsKey("$command $($typed[-1])")) { $values["$command $($typed[-1])"] }
    elseif ($word -like '-*') { $flags[$command] }
    elseif (-not $first) { $commands }
    else { $words[$command] }
  $found | Where-Object { $_ -like "$word*" } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_)
  }
}
`;
}
