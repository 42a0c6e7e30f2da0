"""rtpengine's control protocol: a cookie, then a bencoded dictionary, over UDP."""

from .network import Problem


class Client:
    def __init__(self, socket, server):
        self.socket = socket
        self.socket.settimeout(1)
        self.server = server
        self.cookie = 0

    def request(self, command, **fields):
        """The answer; an answer that is none of success is a problem."""
        self.cookie += 1
        cookie = f"c{self.cookie} ".encode()
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        body = encode({"command": command, **fields})
        for _ in range(5):
            try:
                self.socket.sendto(cookie + body, self.server)
                while True:
                    answer = self.socket.recv(65535)
                    if answer.startswith(cookie):
                        answer = decode(answer[len(cookie):])
                        break
            except (TimeoutError, ConnectionRefusedError):
                continue
            if answer.get("result") not in ("ok", "pong"):
                raise Problem(f"rtpengine refuses {command}: {answer.get('error-reason', answer)}")
            return answer
        raise Problem(f"rtpengine does not answer {command}")


def encode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    pairs = (encode(key) + encode(entry) for key, entry in sorted(value.items()))
    return b"d" + b"".join(pairs) + b"e"


def decode(text):
    value, rest = _decode(text)
    if rest:
        raise Problem("rtpengine's answer goes on behind its end")
    return value


def _decode(text):
    kind = text[:1]
    if kind == b"i":
        number, _, rest = text[1:].partition(b"e")
        return int(number), rest
    if kind in (b"l", b"d"):
        rest, values = text[1:], []
        while rest[:1] != b"e":
            value, rest = _decode(rest)
            values.append(value)
        if kind == b"l":
            return values, rest[1:]
        return dict(zip(values[::2], values[1::2])), rest[1:]
    length, _, rest = text.partition(b":")
    return rest[: int(length)].decode(errors="replace"), rest[int(length):]
