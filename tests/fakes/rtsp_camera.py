"""An RTSP camera made of GStreamer's server, told on stdin what to show; see ``rtsp.py`` beside it.

It runs in the system's Python, whose GStreamer comes from the distribution. Arguments: port, and
user name and password where it asks for them. Commands, one a line: ``pattern ball|smpte|black``,
``size WIDTH HEIGHT``.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - versions come first

PIPELINE = (
    "( videotestsrc is-live=true name=picture pattern=ball ! capsfilter name=size ! "
    # The same quantizer for every picture: what does not move stays the same bit for bit.
    "x264enc tune=zerolatency sliced-threads=false threads=1 speed-preset=ultrafast pass=quant "
    "quantizer=22 ip-factor=1 key-int-max=10 ! "
    "rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class Camera:
    """What the camera shows, now and to those who connect later."""

    def __init__(self) -> None:
        self.pattern = "ball"
        self.size = (320, 240)
        self._media = []

    def configure(self, _factory: object, media: object) -> None:
        """Show it to a new viewer."""
        self._media.append(media.get_element())
        self.apply()

    def obey(self, line: str) -> None:
        """Do as one line says."""
        command, *values = line.split()
        if command == "pattern":
            self.pattern = values[0]
        else:
            self.size = (int(values[0]), int(values[1]))
        self.apply()

    def apply(self) -> None:
        """Set the properties of all pipelines."""
        caps = "video/x-raw,format=I420,framerate=10/1,width={},height={}".format(*self.size)
        for element in self._media:
            element.get_by_name("picture").set_property("pattern", self.pattern)
            element.get_by_name("size").set_property("caps", Gst.Caps.from_string(caps))


def obey_stdin(camera: Camera) -> None:
    """Hand the lines of stdin to the main loop; end with it."""
    for line in sys.stdin:
        GLib.idle_add(lambda text=line: camera.obey(text) and False)
    loop.quit()


def protect(server: object, factory: object, user: str, password: str) -> None:
    """Ask for a name and a password, by digest."""
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "user")
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)  # noqa: FBT003 - GStreamer's
    permissions.add_permission_for_role("user", "media.factory.construct", True)  # noqa: FBT003 - GStreamer's
    factory.set_permissions(permissions)


Gst.init(None)
loop = GLib.MainLoop()
camera = Camera()
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(PIPELINE)
factory.set_shared(True)
factory.connect("media-configure", camera.configure)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
if len(sys.argv) > 2:
    protect(server, factory, sys.argv[2], sys.argv[3])
server.get_mount_points().add_factory("/live", factory)
if not server.attach(None):
    sys.exit("the port is taken")
threading.Thread(target=obey_stdin, args=(camera,), daemon=True).start()
print("ready", flush=True)  # noqa: T201 - it is what the test waits for
loop.run()
