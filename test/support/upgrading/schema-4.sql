BEGIN TRANSACTION;
CREATE TABLE api_key_journal (
     _id TEXT PRIMARY KEY,
     user_id TEXT NOT NULL,
     at TEXT NOT NULL,
     body TEXT NOT NULL CHECK (json_valid(body)),
     hash TEXT AS (json_extract(body, '$.hash')),
     upstream_hash TEXT AS (json_extract(body, '$.upstream_hash'))
   ) STRICT, WITHOUT ROWID;
INSERT INTO "api_key_journal" VALUES('4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5:openrouter:op:00000001','carol','2026-11-30T16:13:35.860Z','{"nonce":"d9000c6f9de4436b","label":"shop","limit":5,"limit_reset":"monthly","expires_at":null,"workspace":null,"deliberate":true}');
INSERT INTO "api_key_journal" VALUES('4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5:openrouter:out:00000001','carol','2026-11-30T16:13:35.879Z','{"outcome":"saved","hash":"617cdd4763339428239b021ce2d86560fe71138e3359eab5439ee064ab9d65f6","upstream_hash":null}');
INSERT INTO "api_key_journal" VALUES('61ea0803f8853523b777d414ace3130cd4d3f92de2cd7ff8695c337d79c2eeee:openrouter:due:00000001','dave','2026-11-30T16:13:35.925Z','{"retire_at":"2100-01-01T00:00:00.000Z"}');
INSERT INTO "api_key_journal" VALUES('61ea0803f8853523b777d414ace3130cd4d3f92de2cd7ff8695c337d79c2eeee:openrouter:op:00000001','dave','2026-11-30T16:13:35.897Z','{"nonce":"52c27e5078176219","label":null,"limit":10,"limit_reset":"monthly","expires_at":null,"workspace":null,"deliberate":true}');
INSERT INTO "api_key_journal" VALUES('61ea0803f8853523b777d414ace3130cd4d3f92de2cd7ff8695c337d79c2eeee:openrouter:op:00000002','dave','2026-11-30T16:13:35.916Z','{"nonce":"d5d03ed8ef0238ba","label":null,"limit":10,"limit_reset":"monthly","expires_at":null,"workspace":"a36c3bc6-52a2-443f-a4bc-953c8d6a064a","deliberate":true}');
INSERT INTO "api_key_journal" VALUES('61ea0803f8853523b777d414ace3130cd4d3f92de2cd7ff8695c337d79c2eeee:openrouter:out:00000001','dave','2026-11-30T16:13:35.900Z','{"outcome":"saved","hash":"2c2fcad940cc8162df35305a0b7df2e31844ad2b6abdb4ef453a35f4ce870aca","upstream_hash":null}');
INSERT INTO "api_key_journal" VALUES('61ea0803f8853523b777d414ace3130cd4d3f92de2cd7ff8695c337d79c2eeee:openrouter:out:00000002','dave','2026-11-30T16:13:35.925Z','{"outcome":"saved","hash":"44961ead05af12c186397eb6b8c669e7614bc39e2da0208ef30e3ffe0ce65044","upstream_hash":null}');
INSERT INTO "api_key_journal" VALUES('61ea0803f8853523b777d414ace3130cd4d3f92de2cd7ff8695c337d79c2eeee:openrouter:rev:00000001','dave','2026-11-30T16:13:35.926Z','{"reason":"superseded","revoke":false}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:op:00000001','erin','2026-11-30T16:13:35.888Z','{"nonce":"65855945526fc6ff","label":null,"limit":2.5,"limit_reset":null,"expires_at":null,"workspace":null,"deliberate":true}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:out:00000001','erin','2026-11-30T16:13:35.891Z','{"outcome":"saved","hash":"d8f97f19c9d2fe7086cd2cdc6dfde406a75d90fa01787475bfae436456dfc3ce","upstream_hash":null}');
INSERT INTO "api_key_journal" VALUES('7cbccb0c4caadf9fcdb51ee457a828cc72a45879831b5b978ae2e2cefc449705:openrouter:rev:00000001','erin','2026-11-30T16:13:35.895Z','{"reason":"superseded","revoke":false}');
CREATE TABLE api_key_meta (_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "api_key_meta" VALUES('account','{"organization_id":null,"workspace_ids":["a36c3bc6-52a2-443f-a4bc-953c8d6a064a"]}');
INSERT INTO "api_key_meta" VALUES('check:nVgTUZUnHZfcH59CMtriXDNSbUWS3HTL53Niz1LkULQ','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImNoZWNrIiwicHJ2Ijoia2V5Y3RsIn0..76Ga899KoGsLEUkm.m5H3ETsZ.WC93E7erCemcSdPOAcPYVw');
INSERT INTO "api_key_meta" VALUES('deployment','8677e05207d2e8ab');
INSERT INTO "api_key_meta" VALUES('schema','4');
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
   , name TEXT, label TEXT, "limit" REAL, limit_reset TEXT, expires_at TEXT, upstream_hash TEXT, previous TEXT CHECK (previous IS NULL OR json_valid(previous)), limit_due TEXT CHECK (limit_due IS NULL OR json_valid(limit_due)), restrictions TEXT CHECK (restrictions IS NULL OR json_valid(restrictions))) STRICT;
INSERT INTO "api_keys" VALUES('7606c1272dcb32fedd6ad022d7989c91','alice','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImFsaWNlIiwicHJ2Ijoib3BlbnJvdXRlciJ9..yFWaZ7vMU1UOZPp6.ZZj4sKpkVwkZA0Urg9V3cVkiJzgESEUe5Q94CpD8hBiBYrL4OFwyqzNkLE4oQy478Zu5ip7sQAA0bCNh7qPewBM6GrdZNbdDnA._sXro9syvDtGbJOgmA5kEw','7dd4f5d098c1b7af88f5d125a6318c51278123fce5c031c224762c2a587be7e5','a123','manual','2026-11-30T16:13:35.852Z','2026-11-30T16:13:35.852Z',NULL,NULL,1,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('e9b80c74e4ceedee7b0b7b9c9a9f3267','68e228e87f803a11a4e23045','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6IjY4ZTIyOGU4N2Y4MDNhMTFhNGUyMzA0NSIsInBydiI6Im9wZW5yb3V0ZXIifQ..QHLlLTp2dctbejsA.auARtWrRmdwAl5Rq0WgVm-vWPmdTB5npJw3R7IsMjcZkLRdv9r3POIfsJVIjbjhZFVTxkB2_xOsEWVbPwgaiJMo5Q2tX8EPVpw.q7vS_5XjO5H4jaH7ZzOBOA','2afbd98501518d5325047849b4285e1612e5616d4aaffc3b21356001c3d01bea','b465','key.txt','2026-11-30T16:13:35.855Z','2026-11-30T16:13:35.855Z',NULL,NULL,1,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('2dd37a149fafbd2fa866f7a9ba3d04a3','łukasz@example.com','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6IsWCdWthc3pAZXhhbXBsZS5jb20iLCJwcnYiOiJvcGVucm91dGVyIn0..S_2dhI7_eFFHdWh7.4UixDnsH1bG9U9d2cAVOXY4OW-UnsL2SBA8_YikxSFMjb4-UDm1_i789sAZFm_HqsfmZHSyWZVskCpxqBuZWYSk0rN-ZB0n2nA.AqBAY68Xkqw_CZhiCpBLfg','a0602489798383b08c92b19dbd25dd0f9cad0095223791fd9acc0ee9574284c1','0c4d','environment','2026-11-30T16:13:35.856Z','2026-11-30T16:13:35.856Z',NULL,NULL,1,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('267dc8476f44e8459ca0038d86967e79','carol','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImNhcm9sIiwicHJ2Ijoib3BlbnJvdXRlciJ9..A-ID1i6luYgOaOQp.2jUKUWOosyWpt6w16qQ0c9eLXU46Qy3Hgy1j-V_DhzQHwbwlNhnD_drAtf5ZB21WXfIw7cj8rfdLbIoCpF1HdnjlGn0LlZOo9w.XzkNRu8hCL1qWFmuiiGALg','617cdd4763339428239b021ce2d86560fe71138e3359eab5439ee064ab9d65f6','9523','auto-provisioned','2026-11-30T16:13:35.878Z','2026-11-30T16:13:35.878Z','2026-11-30T16:13:35.929Z','{"at":"2026-11-30T16:13:35.929Z","verdict":"valid","reason":null,"limit":5,"limit_remaining":5,"blocked_by":null,"expires_at":null}',2,1,1,'keyctl/8677e05207d2e8ab/4c26d9074c27/1-d9000c6f9de4436b','shop',5.0,'monthly',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('707406d1062f1c211b2b6d75c3596b7b','erin','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImVyaW4iLCJwcnYiOiJvcGVucm91dGVyIn0..sTo7d1dPq7_fEZqq.53oNFpLnWYb4ny-5zkwIE7iDk_k9qeY3oD-QTp6pKi2BmDSUvXT72rNQWgPYKLOOAeZAp4OoaayDSwkMiTpEJf56AOi1Cg6h1g.iXCg3AjgjDZDvr7QYTMr_g','7b59e327a361cae37ba717868b159a5886442aa89a7773bb6f962df80c311473','eeee','manual','2026-11-30T16:13:35.894Z','2026-11-30T16:13:35.894Z',NULL,NULL,4,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "api_keys" VALUES('550e900ff0f53e829bcd0e4400786538','dave','openrouter','eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiblZnVFVaVW5IWmZjSDU5Q010cmlYRE5TYlVXUzNIVEw1M05pejFMa1VMUSIsInN1YiI6ImRhdmUiLCJwcnYiOiJvcGVucm91dGVyIn0..woI03iwMcRs7L3lS.rdpfv9Pmn6WA9U_qCndDZPN5-ho9xv29DV-DIkkgd1dKhiUQqtrn1_jALZeLY0p3xrymagGHuSL0hDwFoQ8BBUkZK6LzTYkMLQ.eoOanPQKA0NSdsc4gZ1qBw','44961ead05af12c186397eb6b8c669e7614bc39e2da0208ef30e3ffe0ce65044','adbe','auto-provisioned','2026-11-30T16:13:35.919Z','2026-11-30T16:13:35.919Z',NULL,NULL,4,2,1,'keyctl/8677e05207d2e8ab/61ea0803f885/2-d5d03ed8ef0238ba',NULL,10.0,'monthly',NULL,NULL,NULL,NULL,'{"guardrails":[],"byok":[]}');
CREATE UNIQUE INDEX api_keys_user ON api_keys (user_id, provider);
CREATE INDEX api_keys_hash ON api_keys (key_hash);
CREATE INDEX api_key_journal_hash ON api_key_journal (hash) WHERE hash IS NOT NULL;
CREATE INDEX api_key_journal_upstream_hash ON api_key_journal (upstream_hash) WHERE upstream_hash IS NOT NULL;
CREATE INDEX api_key_journal_counted ON api_key_journal (at)
     WHERE _id GLOB '*:op:*' AND json_extract(body, '$.deliberate') IS NULL;
CREATE INDEX api_keys_limit_due ON api_keys (json_extract(limit_due, '$.at')) WHERE limit_due IS NOT NULL;
CREATE INDEX api_key_journal_retire_at ON api_key_journal (json_extract(body, '$.retire_at'), _id)
     WHERE _id GLOB '*:due:*';
COMMIT;
