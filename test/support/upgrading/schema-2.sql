BEGIN TRANSACTION;
CREATE TABLE api_key_journal (
     _id TEXT PRIMARY KEY,
     user_id TEXT NOT NULL,
     at TEXT NOT NULL,
     body TEXT NOT NULL CHECK (json_valid(body)),
     hash TEXT AS (json_extract(body, '$.hash')),
     upstream_hash TEXT AS (json_extract(body, '$.upstream_hash'))
   ) STRICT, WITHOUT ROWID;
INSERT INTO "api_key_journal" VALUES('4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5:openrouter:op:00000001','carol','2026-11-30T09:17:33.656Z','{"nonce":"939a99f460f441d4","label":"shop","limit":5,"limit_reset":"monthly","expires_at":null,"workspace":null}');
INSERT INTO "api_key_journal" VALUES('4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5:openrouter:out:00000001','carol','2026-11-30T09:17:33.785Z','{"outcome":"saved","hash":"b437031ea32105f31ccff4a2207a6ebaf12c3e0c054b2fc336a4b14d82895c08","upstream_hash":null}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:op:00000001','erin','2026-11-30T09:17:33.810Z','{"nonce":"f630450622c15f79","label":null,"limit":2.5,"limit_reset":null,"expires_at":null,"workspace":null}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:out:00000001','erin','2026-11-30T09:17:33.833Z','{"outcome":"saved","hash":"16850eb1bea9ce6a72840650584a64ee7fd8198f0b6ae1e3e5d95d520bab0585","upstream_hash":null}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:rev:00000001','erin','2026-11-30T09:17:33.855Z','{"reason":"superseded","revoke":false}');
CREATE TABLE api_key_meta (_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "api_key_meta" VALUES('check:nVgTUZUnHZfcH59CMtriXDNSbUWS3HTL53Niz1LkULQ','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImNoZWNrIiwicHJ2Ijoia2V5Y3RsIn0..-WhgUSzS6lCudqz6.UYLt36BX.BlnFVLK4LB4RXF6D-Exbkg');
INSERT INTO "api_key_meta" VALUES('deployment','ca3f362296e8c964');
INSERT INTO "api_key_meta" VALUES('schema','2');
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
   , name TEXT, label TEXT, "limit" REAL, limit_reset TEXT, expires_at TEXT, upstream_hash TEXT, previous TEXT CHECK (previous IS NULL OR json_valid(previous))) STRICT;
INSERT INTO "api_keys" VALUES('4d632f229d912b65fa43c835bcc64ffe','alice','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImFsaWNlIiwicHJ2Ijoib3BlbnJvdXRlciJ9..T2FVHus94iawikOr.A9OqglZJtuPhncb-RN_dXmfBfLdNZVOHrKtDCqFQr0HTrFN8vaQqgKsYjzrGuF_PWN3F3Nl04WLDhdIte6xX2xa8DWN9Wz2-Rg.zL0XPUBWYhdruIrFE844nA','0d9e2f988d35ed27c10d2ffa18c390e732fa6ac5078d97d4c9ece810a68f0c5e','bbbb','manual','2026-11-30T09:17:33.614Z','2026-11-30T09:17:33.614Z',NULL,'{"at":"2026-11-30T09:17:33.933Z","verdict":"invalid","reason":"deleted"}',2,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('794b652fe607a2c199c7e2e43ff3a058','68e228e87f803a11a4e23045','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6IjY4ZTIyOGU4N2Y4MDNhMTFhNGUyMzA0NSIsInBydiI6Im9wZW5yb3V0ZXIifQ..aukrZgP51G7G9_Ls.6rrnItvMhEFBx2G1EGyQdkhUI2UJcKyUv120O027rod3B4vC1WaZhdN2kCyJ3rQU20pWcJBF9zKV_4uPN_Z0-pL4e9L50-EPNg.fFtITyY9BbzJTXOgAh1QsA','a4ae0ca551f45d861e4996ccb760e4470541f80c31d89a0fdaa0156d6e97e554','cccc','environment','2026-11-30T09:17:33.627Z','2026-11-30T09:17:33.627Z',NULL,NULL,1,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('ed65b15238b06038fbe974a17be841fc','łukasz@example.com','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6IsWCdWthc3pAZXhhbXBsZS5jb20iLCJwcnYiOiJvcGVucm91dGVyIn0..Z6QzyJxjvGxSTxlE.6n92jbW3YPKMkhdsE3pXNtKCp593hL2WamwgE4rgodFWhCZoA0a7C8FkCBUVCTBAgSRD9jFeRCxtM2xcFThKzYooj-xdhrKhAw.OctFr-x_LeprCTLFVfkobQ','67b4e87e56a5eafed6f9f4850bb4158f0852f7cf3af8833651d90b7e6d584d1c','dddd','python','2026-11-30T09:17:33.645Z','2026-11-30T09:17:33.645Z',NULL,NULL,1,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('9e0471f3480acd0797860ae6e1625b94','carol','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImNhcm9sIiwicHJ2Ijoib3BlbnJvdXRlciJ9..DeFd5SDYJSFB8gyN.1fNvloL2DHFWA2XxWn9nECseRHIM4fKOeQso5TwO46gVQ3W0YKorkflcLMMIFiq7A8iK6fF3tC9ju3-6Nj90q8bJzjDKaZB2WA.lvUOrcs26CbcWdVs9wnoNg','b437031ea32105f31ccff4a2207a6ebaf12c3e0c054b2fc336a4b14d82895c08','010f','auto-provisioned','2026-11-30T09:17:33.767Z','2026-11-30T09:17:33.767Z','2026-11-30T09:17:33.908Z','{"at":"2026-11-30T09:17:33.908Z","verdict":"valid","reason":null}',2,1,1,'keyctl/ca3f362296e8c964/4c26d9074c27/1-939a99f460f441d4','shop',5.0,'monthly',NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('53437ffc346651138f19ee80f975c151','erin','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImVyaW4iLCJwcnYiOiJvcGVucm91dGVyIn0..IDWblOUP4sqD7yFE.y58L9PMkSDYijOBs3ND9_RuZEjH28oMFNrTPp2JtXjMVDy9JHBLYtwApJbgUteESML9oOwvU3RfSiELUqGR7uMz-9P9GjvaIgA.dsVUB-3BtpI_oerC8J24Tw','7b59e327a361cae37ba717868b159a5886442aa89a7773bb6f962df80c311473','eeee','manual','2026-11-30T09:17:33.851Z','2026-11-30T09:17:33.851Z',NULL,NULL,4,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE UNIQUE INDEX api_keys_user ON api_keys (user_id, provider);
CREATE INDEX api_keys_hash ON api_keys (key_hash);
CREATE INDEX api_key_journal_hash ON api_key_journal (hash) WHERE hash IS NOT NULL;
CREATE INDEX api_key_journal_upstream_hash ON api_key_journal (upstream_hash) WHERE upstream_hash IS NOT NULL;
CREATE INDEX api_key_journal_at ON api_key_journal (at);
COMMIT;
