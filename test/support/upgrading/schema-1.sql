BEGIN TRANSACTION;
CREATE TABLE api_key_meta (_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "api_key_meta" VALUES('check:qxCHshN8PwafMF-QBPVzXD3S4bHcXL78UW4f8SjvPZg','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoicXhDSHNoTjhQd2FmTUYtUUJQVnpYRDNTNGJIY1hMNzhVVzRmOFNqdlBaZyIsInN1YiI6ImNoZWNrIiwicHJ2Ijoia2V5Y3RsIn0..LtNtIfbsO6kecnoF.EQekpf4J.-6mj_LeeRra0_NNvroCnLA');
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
INSERT INTO "api_keys" VALUES('3bacd6f52bf1937f2082db150982eee9','alice','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoicXhDSHNoTjhQd2FmTUYtUUJQVnpYRDNTNGJIY1hMNzhVVzRmOFNqdlBaZyIsInN1YiI6ImFsaWNlIiwicHJ2Ijoib3BlbnJvdXRlciJ9..PYxybTJs9DlIVWrx._gwUwReSd4VUPK2YRn3lcVlkbZUr9EbbjfrueEHXw8qpgxJ1OphiNoJa2TkQBVXf67NvEYDX43OJe4ReYqBb9i9K1gA3enYWqA.2urt6FRgIsGUB7jJpvA33g','0d9e2f988d35ed27c10d2ffa18c390e732fa6ac5078d97d4c9ece810a68f0c5e','bbbb','manual','2026-11-30T09:17:31.757Z','2026-11-30T09:17:31.757Z',NULL,NULL,2,0,1);
INSERT INTO "api_keys" VALUES('3430c3e8698dcbc048ee820c6b4c87de','68e228e87f803a11a4e23045','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoicXhDSHNoTjhQd2FmTUYtUUJQVnpYRDNTNGJIY1hMNzhVVzRmOFNqdlBaZyIsInN1YiI6IjY4ZTIyOGU4N2Y4MDNhMTFhNGUyMzA0NSIsInBydiI6Im9wZW5yb3V0ZXIifQ..AFnn4JR5B2jUXOoa.M8HbPaVdFZqPuWBTdr3j88a0Ohctrd9Mi0NrggxjI2IBECAJIGwUNt4Ew-uruY3MD08od6BFseaF-ymId3FzHktJMQnSiiy5rA.M9Rng1hVQXNVJrTRr0Oz1g','a4ae0ca551f45d861e4996ccb760e4470541f80c31d89a0fdaa0156d6e97e554','cccc','environment','2026-11-30T09:17:31.761Z','2026-11-30T09:17:31.761Z',NULL,NULL,1,0,1);
INSERT INTO "api_keys" VALUES('1246ea7eb1a1176d8a4d3603e8b989d6','łukasz@example.com','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoicXhDSHNoTjhQd2FmTUYtUUJQVnpYRDNTNGJIY1hMNzhVVzRmOFNqdlBaZyIsInN1YiI6IsWCdWthc3pAZXhhbXBsZS5jb20iLCJwcnYiOiJvcGVucm91dGVyIn0..8gB7HYDp9kJGjy67.zMaIsWuSebzvqzRYuTEm9j2mk08cvQ7IjRbbUPKz23eqH9lX0xWS_EjBmi-Qj_pTmvX2O5SFYV1QiEMNZPMZ28URoyyIV9grlg.9SOCbg3oxCl9vgJnDtJ-xA','67b4e87e56a5eafed6f9f4850bb4158f0852f7cf3af8833651d90b7e6d584d1c','dddd','python','2026-11-30T09:17:31.766Z','2026-11-30T09:17:31.766Z',NULL,NULL,1,0,1);
CREATE UNIQUE INDEX api_keys_user ON api_keys (user_id, provider);
CREATE INDEX api_keys_hash ON api_keys (key_hash);
COMMIT;
