/**
 * Completions for shells, from the table that the parser goes by.
 *
 * @module
 */

import {
  type Command,
  COMMANDS,
  COMMON,
  COMPLETIONS,
  type Flag,
} from "./commands.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { print, printJson } from "./output.ts";

/** `rebuild-cache completions SHELL` */
export function completionsCommand(parsed: Parsed): number {
  const [shell, ...more] = parsed.positionals;
  const write = shell === undefined ? undefined : SHELLS.get(shell);
  if (!write || more.length > 0) {
    throw new UsageError(
      `completions takes the name of a shell: ${COMPLETIONS.words!.join(", ")}`,
    );
  }
  const text = write();
  if (parsed.count("json")) printJson("completions", { result: { text } });
  else print(text.trimEnd());
  return 0;
}

const SHELLS: ReadonlyMap<string, () => string> = new Map([
  ["bash", bash],
  ["zsh", zsh],
  ["fish", fish],
  ["powershell", powershell],
]);

/** Commands that have a name. */
const NAMED = COMMANDS.filter(({ name }) => name);

const flagsOf = (command: Command) => [...command.flags, ...COMMON];

/** All spellings of a flag. */
const spellings = ({ name, short }: Flag) => [
  `--${name}`,
  ...short ? [`-${short}`] : [],
];

/** The first line of what a command does, up to its end or a colon. */
function summary({ doc }: Command): string {
  return doc.replaceAll("\n", " ").split(/[.:(]/)[0]!.trim();
}

function bash(): string {
  const cases = COMMANDS.flatMap((command) =>
    command.flags.filter(({ value }) => value).map((flag) => {
      const words = flag.choices
        ? `COMPREPLY=($(compgen -W "${flag.choices.join(" ")}" -- "$current"))`
        : /DIR|ROOT/.test(flag.value!)
        ? `COMPREPLY=($(compgen -d -- "$current"))`
        : "COMPREPLY=()";
      return `    "${command.name} --${flag.name}") ${words}; return ;;`;
    })
  );
  const flags = COMMANDS.map((command) =>
    `      "${command.name}") words="${
      flagsOf(command).flatMap(spellings).join(" ")
    }" ;;`
  );
  const words = NAMED.filter(({ words }) => words).map(({ name, words }) =>
    `    ${name}) COMPREPLY=($(compgen -W "${
      words!.join(" ")
    }" -- "$current")); return ;;`
  );
  const names = NAMED.map(({ name }) => name);
  return `# bash completion of rebuild-cache
_rebuild_cache() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  local command= words= i
  case \${COMP_WORDS[1]} in
    ${names.join("|")}) [ "$COMP_CWORD" -gt 1 ] && command=\${COMP_WORDS[1]} ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [ "\${COMP_WORDS[i]}" = -- ]; then
      COMPREPLY=($(compgen -c -f -- "$current"))
      return
    fi
  done
  case "$command $previous" in
${cases.join("\n")}
  esac
  if [[ $current == -* ]]; then
    case "$command" in
${flags.join("\n")}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${names.join(" ")}" -- "$current"))
    return
  fi
  case "$command" in
${words.join("\n")}
  esac
  COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _rebuild_cache rebuild-cache
`;
}

function zsh(): string {
  const quote = (text: string) => text.replaceAll("'", "'\\''");
  const spec = (flag: Flag) => {
    const doc = quote(flag.doc).replaceAll(/[[\]:]/g, "\\$&");
    const names = spellings(flag);
    const repeat = flag.repeat ? "*" : "";
    const action = !flag.value
      ? ""
      : flag.choices
      ? `:${flag.value.toLowerCase()}:(${flag.choices.join(" ")})`
      : /DIR|ROOT/.test(flag.value)
      ? `:${flag.value.toLowerCase()}:_files -/`
      : `:${flag.value.toLowerCase()}: `;
    return names.map((name) => `'${repeat}${name}[${doc}]${action}'`);
  };
  const argumentsOf = (command: Command) => {
    const rest = command.words
      ? `'1:word:(${command.words.join(" ")})'`
      : `'*:path:_files'`;
    return [...flagsOf(command).flatMap(spec), rest].join(" \\\n        ");
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
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    commands=(
${NAMED.map((it) => `      '${it.name}:${quote(summary(it))}'`).join("\n")}
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
      _arguments ${argumentsOf(COMMANDS[0]!)} ;;
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
  const names = NAMED.map(({ name }) => name).join(" ");
  const condition = ({ name }: Command) =>
    quote(
      name
        ? `__fish_seen_subcommand_from ${name}`
        : `not __fish_seen_subcommand_from ${names}`,
    );
  const lines = NAMED.map((command) =>
    `complete -c rebuild-cache -n __fish_use_subcommand -f -a ${command.name} -d ${
      quote(summary(command))
    }`
  );
  for (const command of COMMANDS) {
    for (const flag of flagsOf(command)) {
      const { name, short, value, choices, doc } = flag;
      lines.push(
        [
          `complete -c rebuild-cache -n ${condition(command)}`,
          `-l ${name}`,
          ...short ? [`-s ${short}`] : [],
          ...choices
            ? [`-x -a ${quote(choices.join(" "))}`]
            : value && /DIR|ROOT/.test(value)
            ? ["-r -a '(__fish_complete_directories)'"]
            : value
            ? ["-x"]
            : [],
          `-d ${quote(doc)}`,
        ].join(" "),
      );
    }
    if (!command.words) continue;
    lines.push(
      `complete -c rebuild-cache -n ${condition(command)} -f -a ${
        quote(command.words.join(" "))
      }`,
    );
  }
  return `# fish completion of rebuild-cache\n${lines.join("\n")}\n`;
}

function powershell(): string {
  const list = (words: readonly string[]) =>
    `@(${words.map((word) => `'${word.replaceAll("'", "''")}'`).join(", ")})`;
  const flags = COMMANDS.map((command) =>
    `    '${command.name}' = ${list(flagsOf(command).flatMap(spellings))}`
  );
  const values = COMMANDS.flatMap((command) =>
    command.flags.filter(({ choices }) => choices).map(({ name, choices }) =>
      `    '${command.name} --${name}' = ${list(choices!)}`
    )
  );
  const words = NAMED.filter(({ words }) => words).map(({ name, words }) =>
    `    '${name}' = ${list(words!)}`
  );
  return `# PowerShell completion of rebuild-cache
Register-ArgumentCompleter -Native -CommandName rebuild-cache -ScriptBlock {
  param($word, $ast, $cursor)
  $commands = ${list(NAMED.map(({ name }) => name))}
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
  $command = if ($typed.Count -gt 1 -and $commands -contains $typed[1]) { $typed[1] } else { '' }
  $found = if ($values.ContainsKey("$command $($typed[-1])")) { $values["$command $($typed[-1])"] }
    elseif ($word -like '-*') { $flags[$command] }
    elseif ($typed.Count -eq 1) { $commands }
    else { $words[$command] }
  $found | Where-Object { $_ -like "$word*" } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_)
  }
}
`;
}
