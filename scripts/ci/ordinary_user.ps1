# Runs tests as a new user who is no administrator, so who may make no symbolic links.
$ErrorActionPreference = 'Stop'

$password = [securestring]::new()
foreach ($it in [guid]::NewGuid().ToString('N').ToCharArray() + 'aA1!'.ToCharArray()) { $password.AppendChar($it) }
New-LocalUser -Name tester -Password $password | Out-Null
$credential = [pscredential]::new('tester', $password)

$folder = (New-Item -ItemType Directory -Path C:\tester).FullName
icacls $folder /grant 'tester:(OI)(CI)F' /Q | Out-Host
icacls $PWD.Path /grant 'tester:(OI)(CI)RX' /T /Q | Out-Host

$tests = 'tests/systems', 'tests/fs', 'tests/os', 'tests/link', 'tests/rebuild', 'tests/clear/clear_test.ts'
$process = Start-Process -FilePath (Get-Command deno).Source -Credential $credential `
  -WorkingDirectory $PWD.Path -Wait -PassThru -NoNewWindow `
  -ArgumentList (@('test', '-A', '--no-check', '--no-lock') + $tests) `
  -RedirectStandardOutput "$folder\out" -RedirectStandardError "$folder\err"
Get-Content -Path "$folder\out", "$folder\err"
exit $process.ExitCode
