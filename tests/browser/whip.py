"""A WebRTC client that is no browser (aiortc), as RFC 9725 has it.

    whip.py publish URL TOKEN HERTZ    says a tone (WHIP)
    whip.py play    URL TOKEN FILE     writes what it hears as WAV (WHEP)

Tells what happens as one JSON object a line: the answer to its POST, then
{"state": "connected"}, and at the end of its input, when it leaves,
{"left": 200}, the status of its DELETE.
"""

import asyncio
import fractions
import json
import math
import struct
import sys
import urllib.error
import urllib.parse
import urllib.request
import wave

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError
from av import AudioFrame

RATE = 48_000
SAMPLES = RATE // 50
SECONDS = 20


class Tone(AudioStreamTrack):
    """A tone, 20 ms at a time, at the pace of a clock."""

    def __init__(self, hertz):
        super().__init__()
        self.hertz = hertz
        self.at = 0
        self.start = None

    async def recv(self):
        now = asyncio.get_running_loop().time()
        self.start = self.start or now
        await asyncio.sleep(max(0, self.start + self.at / RATE - now))
        turn = 2 * math.pi * self.hertz / RATE
        samples = (int(12_000 * math.sin(turn * (self.at + n))) for n in range(SAMPLES))
        frame = AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(struct.pack(f"<{SAMPLES}h", *samples))
        frame.pts, frame.sample_rate, frame.time_base = self.at, RATE, fractions.Fraction(1, RATE)
        self.at += SAMPLES
        return frame


async def record(track, path):
    """Writes what is heard, each frame at once."""
    file = None
    try:
        while True:
            frame = await track.recv()
            channels = len(frame.layout.channels)
            if file is None:
                file = wave.open(path, "wb")
                file.setnchannels(channels)
                file.setsampwidth(2)
                file.setframerate(frame.sample_rate)
            file.writeframes(bytes(frame.planes[0])[: frame.samples * channels * 2])
            file._file.flush()
    except MediaStreamError:
        pass
    finally:
        if file:
            file.close()


def request(method, url, token, sdp=None):
    headers = {"Authorization": f"Bearer {token}"}
    if sdp:
        headers["Content-Type"] = "application/sdp"
    body = sdp.encode() if sdp else None
    wanted = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(wanted, timeout=SECONDS) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def tell(**what):
    print(json.dumps(what), flush=True)


async def main(role, url, token, what):
    # Addresses of this machine are enough, as with a gateway anywhere.
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connected = asyncio.get_running_loop().create_future()
    tasks = []

    @pc.on("connectionstatechange")
    def changed():
        tell(state=pc.connectionState)
        if pc.connectionState == "connected" and not connected.done():
            connected.set_result(None)

    @pc.on("track")
    def heard(track):
        tasks.append(asyncio.ensure_future(record(track, what)))

    if role == "publish":
        pc.addTransceiver(Tone(int(what)), direction="sendonly")
    else:
        pc.addTransceiver("audio", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    offer = pc.localDescription.sdp
    status, headers, body = await asyncio.to_thread(request, "POST", url, token, offer)
    tell(status=status, body=body, offer=offer, **{
        name.lower(): headers[name] for name in ("Location", "ETag", "Content-Type", "Link")
    })
    if status != 201:
        return
    await pc.setRemoteDescription(RTCSessionDescription(body, "answer"))
    await asyncio.wait_for(connected, SECONDS)
    await asyncio.to_thread(sys.stdin.read)
    # RFC 9725 section 4.2: the Location may be relative.
    location = urllib.parse.urljoin(url, headers["Location"])
    status, _, _ = await asyncio.to_thread(request, "DELETE", location, token)
    await pc.close()
    await asyncio.gather(*tasks)
    tell(left=status)


asyncio.run(main(*sys.argv[1:]))
