BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0011');
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DATETIME NOT NULL, 
	who VARCHAR(255) NOT NULL, 
	action VARCHAR(63) NOT NULL, 
	subject VARCHAR(255) NOT NULL, 
	owner VARCHAR(63), 
	source VARCHAR(255) NOT NULL, 
	detail JSON NOT NULL
);
INSERT INTO "audit" VALUES(1,'2026-01-02 03:05:05.000000','ada','create','endpoint/ada/churn','ada','10.0.0.7','{"description": "Who leaves: \u00bfqui\u00e9n? ''quoted''", "revisions": [{"number": 1, "model": "ada.churn", "version": "1", "resources": {"cpu": 1.0, "memory": 1073741824, "gpu": 0}, "environment": {}, "active": true}], "traffic": [{"revision": 1, "percent": 100}], "scaling": {"min": 1, "max": 1}, "shared_with": ["team", "risk"]}');
INSERT INTO "audit" VALUES(2,'2026-01-02 03:07:05.000000','ada','update','endpoint/ada/churn','ada','10.0.0.7','{"generation": 2, "revisions": [{"number": 1, "model": "ada.churn", "version": "1", "resources": {"cpu": 1.0, "memory": 1073741824, "gpu": 0}, "environment": {}, "active": true}, {"number": 2, "model": "ada.churn", "version": "2", "resources": {"cpu": 1.0, "memory": 1073741824, "gpu": 0}, "environment": {}, "active": true}]}');
INSERT INTO "audit" VALUES(3,'2026-01-02 03:09:05.000000','ada','update','endpoint/ada/churn','ada','10.0.0.7','{"generation": 3, "traffic": [{"revision": 1, "percent": 90}, {"revision": 2, "percent": 10}], "scaling": {"min": 2, "max": 4}}');
INSERT INTO "audit" VALUES(4,'2026-01-02 03:11:05.000000','ada','update','endpoint/ada/churn','ada','10.0.0.7','{"generation": 4, "traffic": [{"revision": 2, "percent": 100}], "shared_with": ["team"]}');
INSERT INTO "audit" VALUES(5,'2026-01-02 03:16:05.000000','ada','add-key','endpoint/ada/churn','ada','10.0.0.7','{"id": "1a787f16f862", "name": "billing"}');
INSERT INTO "audit" VALUES(6,'2026-01-02 03:18:05.000000','ada','add-key','endpoint/ada/churn','ada','10.0.0.7','{"id": "1f5062acecc2", "name": "nightly"}');
INSERT INTO "audit" VALUES(7,'2026-01-02 03:20:05.000000','ada','add-key','endpoint/ada/churn','ada','10.0.0.7','{"id": "0934cb1dad43", "name": "old"}');
INSERT INTO "audit" VALUES(8,'2026-01-02 03:22:05.000000','ada','remove-key','endpoint/ada/churn','ada','10.0.0.7','{"id": "0934cb1dad43", "name": "old"}');
INSERT INTO "audit" VALUES(9,'2026-01-02 03:23:05.000000','bob','create','endpoint/bob/tips','bob','10.0.0.8','{"description": "", "revisions": [{"number": 1, "model": "bob.tips", "version": "7", "resources": {"cpu": 0.5, "memory": 268435456, "gpu": 0}, "environment": {"A": "b"}, "active": true}], "traffic": [{"revision": 1, "percent": 100}], "scaling": {"min": 1, "max": 1}, "shared_with": null}');
INSERT INTO "audit" VALUES(10,'2026-01-02 03:25:05.000000','bob','delete','endpoint/bob/tips','bob','10.0.0.8','{}');
INSERT INTO "audit" VALUES(11,'2026-01-02 03:27:05.000000','bob','create','endpoint/team/gone','team','10.0.0.8','{"description": "", "revisions": [{"number": 1, "model": "ada.churn", "version": "1", "resources": {"cpu": 1.0, "memory": 1073741824, "gpu": 0}, "environment": {}, "active": true}], "traffic": [{"revision": 1, "percent": 100}], "scaling": {"min": 1, "max": 1}, "shared_with": null}');
INSERT INTO "audit" VALUES(12,'2026-01-02 03:29:05.000000','bob','delete','endpoint/team/gone','team','10.0.0.8','{}');
INSERT INTO "audit" VALUES(13,'2026-01-02 03:32:05.000000','root','restart','part/traefik',NULL,'cli','{"why": "asked"}');
CREATE TABLE documents (
	name VARCHAR(63) NOT NULL, 
	text TEXT NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_documents PRIMARY KEY (name)
);
INSERT INTO "documents" VALUES('routing','{"routes": []}','2026-01-02 03:33:05.000000');
CREATE TABLE endpoint_shares (
	endpoint_id INTEGER NOT NULL, 
	"group" VARCHAR(63) NOT NULL, 
	CONSTRAINT pk_endpoint_shares PRIMARY KEY (endpoint_id, "group"), 
	CONSTRAINT fk_endpoint_shares_endpoint_id_endpoints FOREIGN KEY(endpoint_id) REFERENCES endpoints (id) ON DELETE CASCADE
);
INSERT INTO "endpoint_shares" VALUES(1,'team');
CREATE TABLE endpoint_status (
	endpoint_id INTEGER NOT NULL, 
	status JSON NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_endpoint_status PRIMARY KEY (endpoint_id), 
	CONSTRAINT fk_endpoint_status_endpoint_id_endpoints FOREIGN KEY(endpoint_id) REFERENCES endpoints (id) ON DELETE CASCADE
);
INSERT INTO "endpoint_status" VALUES(1,'{"observed_generation": 4, "url": "http://127.0.0.1:8000/serve/ada/churn", "revisions": [{"number": 2, "ready_replicas": 2, "desired_replicas": 2, "percent": 100, "flavor": "onnx", "restarts": 0, "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "2 of 2 replicas are ready.", "since": "2026-01-02T03:13:05Z"}], "log_tail": ["ready"]}], "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "2 of 2 replicas are ready.", "since": "2026-01-02T03:13:05Z"}]}','2026-01-02 03:15:05.000000');
CREATE TABLE endpoints (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	owner VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	generation INTEGER NOT NULL, 
	created_by VARCHAR(255) NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	deleting BOOLEAN NOT NULL, 
	spec JSON NOT NULL, 
	packages JSON NOT NULL, 
	stable_history JSON NOT NULL, 
	CONSTRAINT uq_endpoints_owner_name UNIQUE (owner, name)
);
INSERT INTO "endpoints" VALUES(1,'ada','churn',4,'ada','2026-01-02 03:06:05.000000','2026-01-02 03:12:05.000000',0,'{"description": "Who leaves: \u00bfqui\u00e9n? ''quoted''", "revisions": [{"number": 1, "model": "ada.churn", "version": "1", "resources": {"cpu": 1.0, "memory": 1073741824, "gpu": 0}, "environment": {}, "active": true}, {"number": 2, "model": "ada.churn", "version": "2", "resources": {"cpu": 1.0, "memory": 1073741824, "gpu": 0}, "environment": {}, "active": true}], "traffic": [{"revision": 2, "percent": 100}], "scaling": {"min": 2, "max": 4}, "shared_with": ["team"]}','{"1": {"location": "/packages/1", "model": "ada.churn", "version": "1", "flavor": "onnx"}, "2": {"location": "/packages/2", "model": "ada.churn", "version": "2", "flavor": "onnx"}}','[1, 2]');
INSERT INTO "endpoints" VALUES(2,'bob','tips',2,'bob','2026-01-02 03:24:05.000000','2026-01-02 03:26:05.000000',1,'{"description": "", "revisions": [{"number": 1, "model": "bob.tips", "version": "7", "resources": {"cpu": 0.5, "memory": 268435456, "gpu": 0}, "environment": {"A": "b"}, "active": true}], "traffic": [{"revision": 1, "percent": 100}], "scaling": {"min": 1, "max": 1}, "shared_with": null}','{"1": {"location": "/packages/1", "model": "ada.churn", "version": "1", "flavor": null}}','[1]');
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DATETIME NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	resource VARCHAR(32) NOT NULL, 
	owner VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	audience JSON NOT NULL
);
INSERT INTO "events" VALUES(1,'2026-01-02 03:05:05.000000','changed','endpoint','ada','churn','["ada", "risk", "team"]');
INSERT INTO "events" VALUES(2,'2026-01-02 03:07:05.000000','changed','endpoint','ada','churn','["ada", "risk", "team"]');
INSERT INTO "events" VALUES(3,'2026-01-02 03:09:05.000000','changed','endpoint','ada','churn','["ada", "risk", "team"]');
INSERT INTO "events" VALUES(4,'2026-01-02 03:11:05.000000','changed','endpoint','ada','churn','["ada", "risk", "team"]');
INSERT INTO "events" VALUES(5,'2026-01-02 03:14:05.000000','changed','endpoint','ada','churn','["ada", "team"]');
INSERT INTO "events" VALUES(6,'2026-01-02 03:16:05.000000','changed','endpoint','ada','churn','["ada", "team"]');
INSERT INTO "events" VALUES(7,'2026-01-02 03:18:05.000000','changed','endpoint','ada','churn','["ada", "team"]');
INSERT INTO "events" VALUES(8,'2026-01-02 03:20:05.000000','changed','endpoint','ada','churn','["ada", "team"]');
INSERT INTO "events" VALUES(9,'2026-01-02 03:22:05.000000','changed','endpoint','ada','churn','["ada", "team"]');
INSERT INTO "events" VALUES(10,'2026-01-02 03:23:05.000000','changed','endpoint','bob','tips','["bob"]');
INSERT INTO "events" VALUES(11,'2026-01-02 03:25:05.000000','changed','endpoint','bob','tips','["bob"]');
INSERT INTO "events" VALUES(12,'2026-01-02 03:27:05.000000','changed','endpoint','team','gone','["team"]');
INSERT INTO "events" VALUES(13,'2026-01-02 03:29:05.000000','changed','endpoint','team','gone','["team"]');
INSERT INTO "events" VALUES(14,'2026-01-02 03:31:05.000000','deleted','endpoint','team','gone','["team"]');
CREATE TABLE groups (
	id VARCHAR(32) NOT NULL, 
	owner VARCHAR(63) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	parallel INTEGER NOT NULL, 
	created_by VARCHAR(255) NOT NULL, 
	created_at DATETIME NOT NULL, 
	idempotency_key VARCHAR(255), digest VARCHAR(64), 
	CONSTRAINT pk_groups PRIMARY KEY (id), 
	CONSTRAINT uq_groups_owner_idempotency_key UNIQUE (owner, idempotency_key)
);
INSERT INTO "groups" VALUES('g','ada','depths','sweep',2,'ada','2026-01-03 03:01:00.000000','k','5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e');
CREATE TABLE keys (
	id VARCHAR(32) NOT NULL, 
	endpoint_id INTEGER NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	created_by VARCHAR(255) NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	CONSTRAINT pk_keys PRIMARY KEY (id), 
	CONSTRAINT uq_keys_endpoint_id_name UNIQUE (endpoint_id, name), 
	CONSTRAINT fk_keys_endpoint_id_endpoints FOREIGN KEY(endpoint_id) REFERENCES endpoints (id) ON DELETE CASCADE
);
INSERT INTO "keys" VALUES('1a787f16f862',1,'billing','f5848970bb06c46395bab804f164984eeb509ba9dd9f2de1de1b23e5bfaa5810','ada','2026-01-02 03:17:05.000000',NULL);
INSERT INTO "keys" VALUES('1f5062acecc2',1,'nightly','daeb633b399f3557f372b449a1dec64918d19e6042d81f968fc5639f13bd5d68','ada','2026-01-02 03:19:05.000000','2026-01-02 04:19:05.000000');
CREATE TABLE runs (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(32) NOT NULL, 
	owner VARCHAR(63) NOT NULL, 
	created_by VARCHAR(255) NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	spec JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	status JSON NOT NULL, 
	cancelling BOOLEAN NOT NULL, 
	not_before DATETIME, 
	token_id VARCHAR(63), 
	idempotency_key VARCHAR(255), 
	schedule VARCHAR(127), 
	due DATETIME, 
	"group" VARCHAR(63), 
	member VARCHAR(63), removing BOOLEAN DEFAULT 0 NOT NULL, tell_at DATETIME, telling_until DATETIME, 
	CONSTRAINT uq_runs_id UNIQUE (id), 
	CONSTRAINT uq_runs_owner_idempotency_key UNIQUE (owner, idempotency_key), 
	CONSTRAINT uq_runs_schedule_due UNIQUE (schedule, due)
);
INSERT INTO "runs" VALUES(1,'9f2c1d77a0b3e854','ada','ada','2026-01-03 03:01:00.000000','2026-01-03 03:02:00.000000','{"kind":"notebook","name":"","notebook":{"path":"train.ipynb","snapshot":"0000000000000000000000000000000000000000000000000000000000000000","files":[],"declared":null,"kernel":"python3","git":null},"score":null,"parameters":{"depth":3},"profile":"","resources":{"cpu":1.0,"memory":268435456,"gpu":0},"shm":null,"environment":{},"secrets":[],"timeout":null,"retries":0,"backoff":30.0,"priority":0,"needs":[],"results_of":{}}','succeeded','{"state":"succeeded","reason":"","message":"","place":null,"attempt":1,"attempts":[],"progress":{"cell":0,"cells":0,"last_output":"","elapsed":null,"expected":null},"results":{"auc":0.93},"failure":null,"log_tail":[],"started":null,"ended":null,"peak_memory":null,"mlflow_run_id":""}',0,NULL,NULL,'k','ada/nightly','2026-01-03 03:00:00.000000','g','depth=3',0,'2026-01-05 02:10:00.000000',NULL);
CREATE TABLE schedule_files (
	schedule_id INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	location TEXT NOT NULL, 
	run VARCHAR(32), 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_schedule_files PRIMARY KEY (schedule_id, digest), 
	CONSTRAINT fk_schedule_files_schedule_id_schedules FOREIGN KEY(schedule_id) REFERENCES schedules (id) ON DELETE CASCADE
);
INSERT INTO "schedule_files" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','/data/in/a.csv',NULL,'2026-01-02 03:40:05.000000');
CREATE TABLE schedules (
	id INTEGER NOT NULL, 
	owner VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	generation INTEGER NOT NULL, 
	created_by VARCHAR(255) NOT NULL, 
	runs_as VARCHAR(255) NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	spec JSON NOT NULL, 
	cursor DATETIME NOT NULL, 
	skipped JSON NOT NULL, 
	troubles JSON DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_schedules PRIMARY KEY (id), 
	CONSTRAINT uq_schedules_owner_name UNIQUE (owner, name)
);
INSERT INTO "schedules" VALUES(1,'ada','nightly',2,'ada','bob','2026-01-04 03:00:00.000000','2026-01-04 03:00:00.000000','{"cron": "0 3 * * *", "time_zone": "Europe/Berlin", "run": {"kind": "notebook", "name": "", "notebook": {"path": "train.ipynb", "snapshot": "0000000000000000000000000000000000000000000000000000000000000000", "files": [], "declared": null, "kernel": "python3", "git": null}, "score": null, "parameters": {"depth": 3}, "profile": "", "resources": {"cpu": 1.0, "memory": 268435456, "gpu": 0}, "shm": null, "environment": {}, "secrets": [], "timeout": null, "retries": 0, "backoff": 30.0, "priority": 0, "needs": [], "results_of": {}}, "catch_up": "all", "overlap": true, "deadline": 600.0, "paused": false, "description": "who leaves: \u00bfqui\u00e9n?"}','2026-01-05 02:00:00.000000','[{"due": "2026-01-05T02:00:00Z", "count": 2, "reason": "DeadlineExceeded", "message": "it could not start within 600 s: nothing started it"}]','[{"trigger": "files", "reason": "FilesUnavailable", "message": "there is no folder /lake", "since": "2026-01-05T01:00:00Z"}]');
CREATE TABLE secrets (
	id INTEGER NOT NULL, 
	owner VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	description VARCHAR(500) NOT NULL, 
	version INTEGER NOT NULL, 
	sealed TEXT NOT NULL, 
	created_by VARCHAR(255) NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_by VARCHAR(255) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_secrets PRIMARY KEY (id), 
	CONSTRAINT uq_secrets_owner_name UNIQUE (owner, name)
);
INSERT INTO "secrets" VALUES(1,'ada','db','the warehouse',2,'gAAAAABsealed','ada','2026-01-04 03:00:00.000000','bob','2026-01-04 03:00:00.000000');
CREATE INDEX ix_endpoint_shares_group ON endpoint_shares ("group");
CREATE INDEX ix_audit_owner_id ON audit (owner, id);
CREATE INDEX ix_audit_subject_id ON audit (subject, id);
CREATE INDEX ix_runs_state_number ON runs (state, number);
CREATE INDEX ix_runs_owner_number ON runs (owner, number);
CREATE INDEX ix_runs_group_number ON runs ("group", number);
CREATE INDEX ix_groups_created_at ON groups (created_at);
CREATE INDEX ix_runs_state_updated_at ON runs (state, updated_at);
CREATE INDEX ix_runs_removing_number ON runs (removing, number);
CREATE INDEX ix_runs_schedule_number ON runs (schedule, number);
CREATE INDEX ix_runs_token_id ON runs (token_id);
CREATE INDEX ix_runs_tell_at ON runs (tell_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('endpoints',3);
INSERT INTO "sqlite_sequence" VALUES('audit',13);
INSERT INTO "sqlite_sequence" VALUES('events',14);
INSERT INTO "sqlite_sequence" VALUES('runs',1);
COMMIT;
