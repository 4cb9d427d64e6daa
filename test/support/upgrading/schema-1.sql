BEGIN TRANSACTION;
CREATE TABLE api_key_meta (_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "api_key_meta" VALUES('check:nVgTUZUnHZfcH59CMtriXDNSbUWS3HTL53Niz1LkULQ','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImNoZWNrIiwicHJ2Ijoia2V5Y3RsIn0..yoh7xBGhtIpJbAz8.CX7KWCMp.2TMBiE0je9Qj3lFeJ6Kt3g');
INSERT INTO "api_key_meta" VALUES('deployment','90d81d74bf2b6a0d');
INSERT INTO "api_key_meta" VALUES('schema','1');
CREATE TABLE api_keys (
     _id TEXT NOT NULL,
     user_id TEXT NOT NULL,
     provider TEXT NOT NULL,
     key_encrypted TEXT NOT NULL,
     key_hash TEXT,
     key_tail TEXT,
     source TEXT NOT NULL,
     created_at TEXT NOT NULL,
     updated_at TEXT NOT NULL,
     last_validated TEXT,
     last_check TEXT CHECK (last_check IS NULL OR json_valid(last_check)),
     revision INTEGER CHECK (revision BETWEEN 0 AND 9007199254740991),
     generation INTEGER NOT NULL DEFAULT 0 CHECK (generation BETWEEN 0 AND 9007199254740991),
     settled INTEGER NOT NULL DEFAULT 1
   ) STRICT;
INSERT INTO "api_keys" VALUES('3bacd6f52bf1937f2082db150982eee9','alice','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImFsaWNlIiwicHJ2Ijoib3BlbnJvdXRlciJ9..TFnXS4G3QrTaumrc.RrckjAWbQSYm6P6kvd6c1ev5FwFJzoSRhdr-aNSgIgBeaH66ofarpTa4edqvJ5IKJNfczEIhLpfezVvsJ7amNyhWqGMMSVJpeg.tjgaHX8iErxPipPT5EtDZA','0d9e2f988d35ed27c10d2ffa18c390e732fa6ac5078d97d4c9ece810a68f0c5e','bbbb','manual','2026-11-30T09:17:31.757Z','2026-11-30T09:17:31.757Z',NULL,NULL,2,0,1);
INSERT INTO "api_keys" VALUES('3430c3e8698dcbc048ee820c6b4c87de','68e228e87f803a11a4e23045','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6IjY4ZTIyOGU4N2Y4MDNhMTFhNGUyMzA0NSIsInBydiI6Im9wZW5yb3V0ZXIifQ..ZRgkQ3zepmx0azEo.XaVc9z9GSToH8zunxPv6dQzfCVT9rzYBWWSszFVH_8NYe2msglF3pGnRlK93RX6G-kidxm7jQNldDG99FENj02p2cxZYQIM8mQ.vQvB_3-PDvV55xbl7i6cGA','a4ae0ca551f45d861e4996ccb760e4470541f80c31d89a0fdaa0156d6e97e554','cccc','environment','2026-11-30T09:17:31.761Z','2026-11-30T09:17:31.761Z',NULL,NULL,1,0,1);
INSERT INTO "api_keys" VALUES('1246ea7eb1a1176d8a4d3603e8b989d6','łukasz@example.com','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6IsWCdWthc3pAZXhhbXBsZS5jb20iLCJwcnYiOiJvcGVucm91dGVyIn0..chxvwN5dtpffCeS7.YgJdRFUjJcfAW-8IhyvDEDgwqsLe7VSSa6SkHTZzVNuybsOrEZEq2ceT7eVt7TBhoiwzF03p5kach2UtMuxnh10NUI5ndG1UXA.npweilRwav7BNEpM_oz4VQ','67b4e87e56a5eafed6f9f4850bb4158f0852f7cf3af8833651d90b7e6d584d1c','dddd','python','2026-11-30T09:17:31.766Z','2026-11-30T09:17:31.766Z',NULL,NULL,1,0,1);
CREATE UNIQUE INDEX api_keys_user ON api_keys (user_id, provider);
CREATE INDEX api_keys_hash ON api_keys (key_hash);
COMMIT;
