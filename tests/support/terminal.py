# terminal.py COLUMNS COMMAND…: runs a command in a terminal of so many columns, prints
# what came from it, and exits as it did.
import fcntl
import os
import pty
import struct
import sys
import termios

columns, command = int(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.execvp(command[0], command)
while True:
    try:
        said = os.read(terminal, 65536)
    except OSError:  # Linux says so when the last one has closed it
        break
    if not said:
        break
    sys.stdout.buffer.write(said)
    sys.stdout.buffer.flush()
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
