import base64, json, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

def decode(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

keys = {key["kid"]: decode(key["k"]) for key in json.load(open(sys.argv[1]))["keys"]}
header, _, iv, sealed, tag = sys.stdin.read().strip().split(".")
aes = AESGCM(keys[json.loads(decode(header))["kid"]])
print(aes.decrypt(decode(iv), decode(sealed) + decode(tag), header.encode()).decode())
