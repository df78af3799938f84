# ask.zsh SCRIPT LINE: what a real zsh shows when Tab is pressed behind LINE.
zmodload zsh/zpty
zpty z "zsh -f -i"
zpty -w z "PS1= PS2=; autoload -Uz compinit; compinit -D -u; source $1; LISTMAX=0; echo READY"
while zpty -r z line; do [[ $line == *READY* && $line != *echo* ]] && break; done
zpty -w -n z "$2"$'\t'
sleep 0.5
zpty -w z $'\x15echo DONE'
while zpty -r z line; do
  all+=$line
  [[ $line == *DONE* && $line != *echo* ]] && break
done
print -r -- "$all"
zpty -d z
