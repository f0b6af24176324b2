# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: a process that holds a module by what it has open, and uses that whenever it is asked to.

``holding.py start KIND [ARGUMENT...]`` leaves such a process behind, and returns when it holds; ``holding.py use`` has
each that was left behind use what it holds, and fails where one is gone, or its use fails.
"""

import ctypes
import fcntl
import functools
import mmap
import os
import pty
import signal
import socket
import struct
import sys
import time
from typing import Callable, Dict

PLACE = '/run/holding'
DEADLINE_S = 30
Use = Callable[[], object]


def opened(path: str) -> Use:
    """Any file, open for reading and writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    return lambda: os.fstat(descriptor)


def read(path: str) -> Use:
    """A file of which the first bytes are read each time."""
    descriptor = os.open(path, os.O_RDONLY)
    return lambda: os.pread(descriptor, 8, 0)


def video(path: str) -> Use:
    """A video device, asked what it can (VIDIOC_QUERYCAP)."""
    descriptor = os.open(path, os.O_RDWR)
    return lambda: fcntl.ioctl(descriptor, 0x80685600, bytes(104))


def video_mapped(path: str) -> Use:
    """A video device's buffer, mapped and written to: VIDIOC_S_FMT, VIDIOC_REQBUFS, VIDIOC_QUERYBUF."""
    descriptor = os.open(path, os.O_RDWR)
    output = 2
    form = bytearray(208)
    struct.pack_into('=I4xII4sI', form, 0, output, 64, 48, b'YUYV', 1)
    fcntl.ioctl(descriptor, 0xC0D05605, form)
    fcntl.ioctl(descriptor, 0xC0145608, bytearray(struct.pack('=IIIII', 2, output, 1, 0, 0)))
    buffer = bytearray(88)
    struct.pack_into('=II', buffer, 0, 0, output)
    fcntl.ioctl(descriptor, 0xC0585609, buffer)
    offset, = struct.unpack_from('=I', buffer, 64)
    length, = struct.unpack_from('=I', buffer, 72)
    memory = mmap.mmap(descriptor, length, offset=offset)
    return lambda: memory.__setitem__(slice(0, 4), os.urandom(4))


def mapped_alone(path: str) -> Use:
    """The same, with its descriptor closed: the mapping alone is left."""
    use = video_mapped(path)
    for descriptor in map(int, os.listdir('/proc/self/fd')):
        try:
            if os.readlink('/proc/self/fd/%d' % descriptor) == path:
                os.close(descriptor)
        except OSError:
            continue
    return use


def loopback_tcp(option: int, value: bytes) -> 'tuple[socket.socket, socket.socket]':
    """Both ends of a connection; the first has this option of TCP."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        near = socket.create_connection(server.getsockname())
        far = server.accept()[0]
    near.setsockopt(socket.IPPROTO_TCP, option, value)
    return near, far


def congestion(name: str) -> Use:
    """A TCP connection with this congestion control (TCP_CONGESTION); 100 kB are sent each time."""
    near, far = loopback_tcp(13, name.encode())

    def use() -> None:
        near.sendall(bytes(100000))
        left = 100000
        while left:
            left -= len(far.recv(left))

    return use


def tls(_name: str) -> Use:
    """A TCP connection that the kernel encrypts (TCP_ULP, SOL_TLS)."""
    near, far = loopback_tcp(31, b'tls')
    near.setsockopt(282, 1, struct.pack('=HH36s', 0x0303, 51, os.urandom(36)))

    def use() -> None:
        near.sendall(b'x' * 100)
        if len(far.recv(4096)) < 100:
            raise OSError('nothing came')

    return use


def algorithm(kind: str, name: str) -> Use:
    """A socket of the kernel's crypto: hashes or encrypts each time."""
    maker = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
    maker.bind((kind, name))
    if kind == 'skcipher':
        maker.setsockopt(socket.SOL_ALG, socket.ALG_SET_KEY, bytes(16))
    working = maker.accept()[0]

    def use() -> None:
        if kind == 'skcipher':
            working.sendmsg_afalg([bytes(32)], op=socket.ALG_OP_ENCRYPT, iv=bytes(16))
        else:
            working.sendall(b'words')
        if not working.recv(32):
            raise OSError('nothing came')

    return use


def can(device: str) -> Use:
    """Two raw sockets on a CAN device; a frame goes from one to the other each time."""
    sockets = [socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) for _each in range(2)]
    for one in sockets:
        one.bind((device,))
        one.settimeout(5)

    def use() -> None:
        sockets[0].send(struct.pack('=IB3x8s', 0x123, 8, b'8 bytes.'))
        sockets[1].recv(16)

    return use


def sent(near: socket.socket, far: socket.socket) -> None:
    """A word from one end to the other."""
    near.sendall(b'words')
    if not far.recv(10):
        raise OSError('nothing came')


def sctp(_name: str) -> Use:
    """A connection of SCTP over the loopback interface."""
    server, client = (socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132) for _each in range(2))
    server.bind(('127.0.0.1', 0))
    server.listen(1)
    client.connect(server.getsockname())
    far = server.accept()[0]
    return functools.partial(sent, client, far)


def vsock(_name: str) -> Use:
    """A connection of vsock with this very machine (VMADDR_CID_LOCAL)."""
    server, client = (socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) for _each in range(2))
    server.bind((socket.VMADDR_CID_ANY, 4711))
    server.listen(1)
    client.connect((1, 4711))
    far = server.accept()[0]
    return functools.partial(sent, client, far)


def tun(name: str) -> Use:
    """A tun device (TUNSETIFF), up; a packet of IPv4 comes out of it each time."""
    descriptor = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack('=16sH22x', name.encode(), 0x1001))
    os.system('ip link set %s up' % name)  # noqa: S605
    packet = bytes.fromhex('450000140000000040fd26d80a0707010a070702')
    return lambda: os.write(descriptor, packet)


def uhid(_name: str) -> Use:
    """A mouse of user space (UHID_CREATE2); it reports each time (UHID_INPUT2)."""
    descriptor = os.open('/dev/uhid', os.O_RDWR | os.O_NONBLOCK)
    report = bytes.fromhex('05010902a1010901a10005091901290315002501950375018102950175058101'
                           '0501093009311581257f750895028106c0c0')
    create = struct.pack('=I128s64s64sHHIIII', 11, b'mouse', b'', b'', len(report), 3, 1, 1, 0, 0) + report
    os.write(descriptor, create.ljust(4380, b'\0'))
    return lambda: os.write(descriptor, struct.pack('=IH4096s', 12, 3, bytes(3)).ljust(4380, b'\0'))


def uinput(_name: str) -> Use:
    """A keyboard of user space with one key (UI_SET_EVBIT, UI_SET_KEYBIT, UI_DEV_SETUP, UI_DEV_CREATE)."""
    descriptor = os.open('/dev/uinput', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, 0x40045564, 1)
    fcntl.ioctl(descriptor, 0x40045565, 30)
    fcntl.ioctl(descriptor, 0x405C5503, struct.pack('=HHHH80sI', 3, 1, 1, 1, b'keyboard', 0))
    fcntl.ioctl(descriptor, 0x5501)
    return lambda: os.write(descriptor, struct.pack('=qqHHi', 0, 0, 1, 30, 1))


def watchdog(path: str) -> Use:
    """A watchdog, fed each time."""
    descriptor = os.open(path, os.O_WRONLY)
    return lambda: os.write(descriptor, b'1')


def i2c(path: str) -> Use:
    """A chip at 0x50 (I2C_SLAVE), of which a byte is read each time (I2C_SMBUS)."""
    descriptor = os.open(path, os.O_RDWR)
    fcntl.ioctl(descriptor, 0x0703, 0x50)
    data = ctypes.create_string_buffer(34)

    def use() -> None:
        fcntl.ioctl(descriptor, 0x0720, struct.pack('=BB2xIQ', 1, 0, 2, ctypes.addressof(data)))

    return use


def line_discipline(number: str) -> Use:
    """A pseudoterminal with this line discipline (TIOCSETD)."""
    near, far = pty.openpty()
    fcntl.ioctl(far, 0x5423, struct.pack('=i', int(number)))
    return lambda: os.write(near, b'\xc0words\xc0')


def in_flight(path: str) -> Use:
    """A file that is in no table of a process: in flight in a unix socket. Taken out and sent again each time."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def send(descriptor: int) -> None:
        socket.send_fds(near, [b'x'], [descriptor])
        os.close(descriptor)

    send(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    return lambda: send(socket.recv_fds(far, 1, 1)[1][0])


KINDS: 'Dict[str, Callable[..., Use]]' = {
    'opened': opened, 'read': read, 'video': video, 'video_mapped': video_mapped, 'mapped_alone': mapped_alone,
    'congestion': congestion, 'tls': tls, 'algorithm': algorithm, 'can': can, 'sctp': sctp, 'vsock': vsock, 'tun': tun,
    'uhid': uhid, 'uinput': uinput, 'watchdog': watchdog, 'i2c': i2c, 'line_discipline': line_discipline,
    'in_flight': in_flight,
}


def hold(kind: str, arguments: 'list[str]') -> None:
    """Holds until it is killed; ``PLACE/PID`` is what its last use came to, behind a number that grows."""
    use = KINDS[kind](*arguments)
    counter = 0
    # Blocked, so that sigwait takes it, and so that none comes before it is waited for.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    while True:
        try:
            use()
            said = 'ok'
        except OSError as error:
            said = str(error)
        with open('%s/.%d' % (PLACE, os.getpid()), 'w') as stream:
            stream.write('%d %s' % (counter, said))
        os.rename('%s/.%d' % (PLACE, os.getpid()), '%s/%d' % (PLACE, os.getpid()))
        counter += 1
        signal.sigwait({signal.SIGUSR1})


def last_use(pid: int) -> 'list[str]':
    """The number of its last use, and what that came to; an OSError where there was none yet."""
    with open('%s/%d' % (PLACE, pid)) as stream:
        return stream.read().split(' ', 1)


def start(kind: str, arguments: 'list[str]') -> str:
    """Leaves a process of this kind behind; what was wrong with its first use, or ''."""
    os.makedirs(PLACE, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        errors = os.open(PLACE + '/errors', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor, target in ((nowhere, 0), (nowhere, 1), (errors, 2)):
            os.dup2(descriptor, target)
        os.closerange(3, 64)
        os.execv(sys.executable, [sys.executable, __file__, 'hold', kind, *arguments])
    for _attempt in range(DEADLINE_S * 10):
        try:
            said = last_use(pid)[1]
        except OSError:
            if os.waitpid(pid, os.WNOHANG)[0]:
                with open(PLACE + '/errors') as stream:
                    return 'it ended:\n' + stream.read()[-1000:]
            time.sleep(0.1)
            continue
        return '' if said == 'ok' else said
    return 'it did not come so far'


def use_all() -> 'list[str]':
    """Has each process use what it holds; what went wrong."""
    wrong = []
    for name in filter(str.isdigit, sorted(os.listdir(PLACE))):
        pid = int(name)
        before = last_use(pid)[0]
        try:
            os.kill(pid, signal.SIGUSR1)
        except ProcessLookupError:
            wrong.append('process %d is gone' % pid)
            continue
        end = time.monotonic() + DEADLINE_S
        while last_use(pid)[0] == before and time.monotonic() < end:
            time.sleep(0.1)
        number, said = last_use(pid)
        if number == before:
            wrong.append('process %d does not answer' % pid)
        elif said != 'ok':
            wrong.append('process %d: %s' % (pid, said))
    return wrong


def main(words: 'list[str]') -> None:
    """The command line."""
    if words[0] == 'hold':
        hold(words[1], words[2:])
    failed = '; '.join(use_all()) if words[0] == 'use' else start(words[1], words[2:])
    if failed:
        sys.exit(' '.join(words) + ': ' + failed)


if __name__ == '__main__':
    main(sys.argv[1:])
