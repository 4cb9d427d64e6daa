BEGIN TRANSACTION;
CREATE TABLE api_key_journal (
     _id TEXT PRIMARY KEY,
     user_id TEXT NOT NULL,
     at TEXT NOT NULL,
     body TEXT NOT NULL CHECK (json_valid(body)),
     hash TEXT AS (json_extract(body, '$.hash')),
     upstream_hash TEXT AS (json_extract(body, '$.upstream_hash'))
   ) STRICT, WITHOUT ROWID;
INSERT INTO "api_key_journal" VALUES('4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5:openrouter:op:00000001','carol','2026-11-30T09:17:36.372Z','{"nonce":"743b68a33dcbee3e","label":"shop","limit":5,"limit_reset":"monthly","expires_at":null,"workspace":null,"deliberate":true}');
INSERT INTO "api_key_journal" VALUES('4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5:openrouter:out:00000001','carol','2026-11-30T09:17:36.476Z','{"outcome":"saved","hash":"47e85c08b8d39acb1b4accc53b3cf25433312b80911f2dca32e2ee3306d94e05","upstream_hash":null}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:op:00000001','erin','2026-11-30T09:17:36.526Z','{"nonce":"674279d5e5415bd2","label":null,"limit":2.5,"limit_reset":null,"expires_at":null,"workspace":null,"deliberate":true}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:out:00000001','erin','2026-11-30T09:17:36.557Z','{"outcome":"saved","hash":"d380a89ab3cc1445cb20db6b2e258c6c70bb53b503df1296a478e45113bb676c","upstream_hash":null}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:rev:00000001','erin','2026-11-30T09:17:36.581Z','{"reason":"superseded","revoke":false}');
CREATE TABLE api_key_meta (_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "api_key_meta" VALUES('account','{"organization_id":null,"workspace_ids":["03ee9bca-8a6b-47ac-bf9a-0f0738c0a27e"]}');
INSERT INTO "api_key_meta" VALUES('check:nVgTUZUnHZfcH59CMtriXDNSbUWS3HTL53Niz1LkULQ','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImNoZWNrIiwicHJ2Ijoia2V5Y3RsIn0..5Pt0JWEEfr8NW3ns.XxAakk_b.DK7zTrYaK2lz9IEda3-BVg');
INSERT INTO "api_key_meta" VALUES('deployment','8a002fefe83f1955');
INSERT INTO "api_key_meta" VALUES('schema','3');
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
INSERT INTO "api_keys" VALUES('52ccdec1cb80ee31ef259c1c872d7441','alice','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImFsaWNlIiwicHJ2Ijoib3BlbnJvdXRlciJ9..fQidiLPb9Cz_GO7o.2LnHFkOzpUZoIcS6siS3KQb0_uH0Kwp9vy_lGWv6BcBRdzXYfxElfnV3Zp688i07kc75syx_OUoExtCS-q8zsJbOd7PageMNkQ.m4q1fB6AddFt928PZcXDDg','0d9e2f988d35ed27c10d2ffa18c390e732fa6ac5078d97d4c9ece810a68f0c5e','bbbb','manual','2026-11-30T09:17:36.340Z','2026-11-30T09:17:36.340Z',NULL,'{"at":"2026-11-30T09:17:36.662Z","verdict":"invalid","reason":"deleted"}',2,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('d0bc89bc3816e3d0b21651a097e8ea96','68e228e87f803a11a4e23045','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6IjY4ZTIyOGU4N2Y4MDNhMTFhNGUyMzA0NSIsInBydiI6Im9wZW5yb3V0ZXIifQ..twieo-jsebtl3k7w.0WTdGWN7kH2BIL6odCgoy5xmzPI2jX69fbTsCws-rvRPAm-SKALRC9FolBi0GdImDSU9ULsahCNHd9qxu2pKXR1a0Iwr9nq2Mw.-0NsA8ucHiRN_2BSmQk4TQ','a4ae0ca551f45d861e4996ccb760e4470541f80c31d89a0fdaa0156d6e97e554','cccc','environment','2026-11-30T09:17:36.344Z','2026-11-30T09:17:36.344Z',NULL,NULL,1,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('96718c63242c013fd2a324d89891a839','łukasz@example.com','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6IsWCdWthc3pAZXhhbXBsZS5jb20iLCJwcnYiOiJvcGVucm91dGVyIn0..LZeMvXSPPz6UCSk4.2h1krL_hoOnwegN1B2qZO703qHzdj4WohsOB8pmH-yJFIS_T663S5mZ-ajjIzMW9OvIXdmQmX_7EE6PqJD9eP33UbKycJ33v3w.NnM47bDpV2231jP5gV_b9Q','67b4e87e56a5eafed6f9f4850bb4158f0852f7cf3af8833651d90b7e6d584d1c','dddd','python','2026-11-30T09:17:36.349Z','2026-11-30T09:17:36.349Z',NULL,NULL,1,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('69794ce40de9771a7809f8dba816ac6d','carol','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImNhcm9sIiwicHJ2Ijoib3BlbnJvdXRlciJ9..iml_UMr6f8n43-0Y.86jCBfgfb37E3AUI4xmAkFvP6Oge-rV_1hXin3LEfg5VHZDR8z0oW2JwUSCrhF3FBVM5g7X6Sa6VrY8sRnjB-F0Cg1OTSUkaeg.6fFGDU33jpXrA-4D8eiAww','47e85c08b8d39acb1b4accc53b3cf25433312b80911f2dca32e2ee3306d94e05','2f9a','auto-provisioned','2026-11-30T09:17:36.466Z','2026-11-30T09:17:36.466Z','2026-11-30T09:17:36.614Z','{"at":"2026-11-30T09:17:36.614Z","verdict":"valid","reason":null}',2,1,1,'keyctl/8a002fefe83f1955/4c26d9074c27/1-743b68a33dcbee3e','shop',5.0,'monthly',NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('0958cf3b04f8d2dcc8f79f41ff3cebed','erin','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImVyaW4iLCJwcnYiOiJvcGVucm91dGVyIn0..dhUXThuzx7PnfFEI.Ra4camWR5s8yltQGjnTtTDIMmQq4n_ZN6QGVm18G_NI5BjfZjmEU-IFyoyUrRpo2Vu2puHXSf6mqQUFEeir0LI17xOVldNBODA.2rJ6VFQ5ye9IPsEJSXWWyg','7b59e327a361cae37ba717868b159a5886442aa89a7773bb6f962df80c311473','eeee','manual','2026-11-30T09:17:36.566Z','2026-11-30T09:17:36.566Z',NULL,NULL,4,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE UNIQUE INDEX api_keys_user ON api_keys (user_id, provider);
CREATE INDEX api_keys_hash ON api_keys (key_hash);
CREATE INDEX api_key_journal_hash ON api_key_journal (hash) WHERE hash IS NOT NULL;
CREATE INDEX api_key_journal_upstream_hash ON api_key_journal (upstream_hash) WHERE upstream_hash IS NOT NULL;
CREATE INDEX api_key_journal_counted ON api_key_journal (at)
     WHERE _id GLOB '*:op:*' AND json_extract(body, '$.deliberate') IS NULL;
COMMIT;
