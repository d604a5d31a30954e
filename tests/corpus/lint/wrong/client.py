import os
import ssl
from ssl import CERT_NONE

import requests
from OpenSSL import SSL

DATABASE = "postgresql://shop:hunter2@db.internal/shop?sslmode=disable"
PARAMETERS = "host=db.internal dbname=shop sslmode=allow"

context = ssl.SSLContext(ssl.PROTOCOL_TLSv1)
context.check_hostname = False
context.verify_mode = CERT_NONE
context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
context.set_ciphers("ALL:@SECLEVEL=0")
context.keylog_filename = "/tmp/keys.log"
os.environ["SSLKEYLOGFILE"] = "/tmp/keys.log"
ssl._create_default_https_context = ssl._create_unverified_context

session = requests.Session()
session.verify = False
requests.get("https://api.internal/", verify=False, timeout=5)
SSL.Context(SSL.TLS_METHOD).set_verify(SSL.VERIFY_NONE, lambda *_: True)
