SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.daily (
    day bigint NOT NULL,
    verdict text NOT NULL COLLATE pg_catalog."C",
    asked text NOT NULL COLLATE pg_catalog."C",
    done text NOT NULL COLLATE pg_catalog."C",
    count bigint NOT NULL
);
CREATE TABLE public.domain (
    name text NOT NULL COLLATE pg_catalog."C",
    organisation text NOT NULL COLLATE pg_catalog."C",
    first_seen bigint NOT NULL,
    last_seen bigint NOT NULL,
    pass1 bigint,
    pass2 bigint,
    pass3 bigint,
    pinned boolean DEFAULT false NOT NULL
);
CREATE TABLE public.held (
    id text NOT NULL COLLATE pg_catalog."C",
    gateway text NOT NULL COLLATE pg_catalog."C",
    verified boolean NOT NULL,
    size bigint NOT NULL,
    facts text NOT NULL,
    lease bigint,
    leased_by text COLLATE pg_catalog."C",
    leased_until timestamp with time zone
);
CREATE TABLE public.held_piece (
    held text NOT NULL COLLATE pg_catalog."C",
    number integer NOT NULL,
    octets bytea NOT NULL
);
ALTER TABLE ONLY public.held_piece ALTER COLUMN octets SET STORAGE EXTERNAL;
CREATE TABLE public.judged (
    id bigint NOT NULL,
    at bigint NOT NULL,
    gateway text NOT NULL COLLATE pg_catalog."C",
    record text NOT NULL
);
ALTER TABLE public.judged ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.judged_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.key (
    domain text NOT NULL COLLATE pg_catalog."C",
    key bytea NOT NULL,
    selector text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    is_root boolean NOT NULL,
    first_seen bigint NOT NULL,
    last_seen bigint NOT NULL
);
CREATE TABLE public.probe (
    id text NOT NULL COLLATE pg_catalog."C",
    message bytea NOT NULL
);
CREATE TABLE public.refinery_schema_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);
CREATE TABLE public.release (
    held text NOT NULL COLLATE pg_catalog."C",
    number bigint NOT NULL,
    gateway text NOT NULL COLLATE pg_catalog."C",
    step text NOT NULL
);
ALTER TABLE public.release ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.release_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.said (
    is_only boolean DEFAULT true NOT NULL,
    version bigint NOT NULL,
    content text NOT NULL,
    CONSTRAINT said_is_only_check CHECK (is_only)
);
CREATE TABLE public.tally (
    domain text NOT NULL COLLATE pg_catalog."C",
    verdict text NOT NULL COLLATE pg_catalog."C",
    count bigint NOT NULL
);
CREATE TABLE public.trial (
    octets bytea NOT NULL
);
INSERT INTO public.held VALUES ('20261128T152102-mx1-d3c5dc', 'mx1', false, 1, '{"listener":"inbound","received":"2026-11-28T15:21:02.875331164Z","client":"127.0.0.1","reverse_path":"a@example.org","mail_parameters":[],"recipients":["b@partner.example"],"recipient_parameters":[[]],"verified":false,"verdict":"missing","reason":null,"summary":"\u0000no seal, though the author''s domain is known to seal its mail","message_id":"<0@x>","result":"Authentication-Results: mx.partner.example; x-attachment-seal=missing\r\n","size":1}', NULL, NULL, NULL);
INSERT INTO public.held VALUES ('20261128T152102-mx1-d12b82', 'mx1', false, 1, '{"listener":"inbound","received":"2026-11-28T15:21:02.896781612Z","client":"127.0.0.1","reverse_path":"a@example.org","mail_parameters":[],"recipients":["b@partner.example"],"recipient_parameters":[[]],"verified":false,"verdict":"missing","reason":null,"summary":"\u0000no seal, though the author''s domain is known to seal its mail","message_id":"<1@x>","result":"Authentication-Results: mx.partner.example; x-attachment-seal=missing\r\n","size":1}', NULL, NULL, NULL);
INSERT INTO public.held_piece VALUES ('20261128T152102-mx1-d3c5dc', 0, '\x78');
INSERT INTO public.held_piece VALUES ('20261128T152102-mx1-d12b82', 0, '\x78');
INSERT INTO public.refinery_schema_history VALUES (1, 'tables', '2026-11-28T15:20:54.813842002Z', '12400261556747232257');
INSERT INTO public.release OVERRIDING SYSTEM VALUE VALUES ('20261128T152102-mx1-d12b82', 1, 'mx1', '{"event":"sending","at":"2026-11-28T15:21:02.996767251Z","recipients":[0]}');
INSERT INTO public.release OVERRIDING SYSTEM VALUE VALUES ('20261128T152102-mx1-d12b82', 2, 'mx1', '{"event":"answered","at":"2026-11-28T15:21:03.002016428Z","delivered":[],"refused":[0]}');
INSERT INTO public.release OVERRIDING SYSTEM VALUE VALUES ('20261128T152102-mx1-d12b82', 3, 'mx1', '{"event":"sending","at":"2026-11-28T15:21:02Z","recipients":[0]}');
INSERT INTO public.said VALUES (true, 0, '{}');
SELECT pg_catalog.setval('public.judged_id_seq', 2, true);
SELECT pg_catalog.setval('public.release_number_seq', 3, true);
ALTER TABLE ONLY public.daily
    ADD CONSTRAINT daily_pkey PRIMARY KEY (day, verdict, asked, done);
ALTER TABLE ONLY public.domain
    ADD CONSTRAINT domain_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.held_piece
    ADD CONSTRAINT held_piece_pkey PRIMARY KEY (held, number);
ALTER TABLE ONLY public.held
    ADD CONSTRAINT held_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.judged
    ADD CONSTRAINT judged_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.key
    ADD CONSTRAINT key_pkey PRIMARY KEY (domain, key);
ALTER TABLE ONLY public.probe
    ADD CONSTRAINT probe_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refinery_schema_history
    ADD CONSTRAINT refinery_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.release
    ADD CONSTRAINT release_pkey PRIMARY KEY (held, number);
ALTER TABLE ONLY public.said
    ADD CONSTRAINT said_pkey PRIMARY KEY (is_only);
ALTER TABLE ONLY public.tally
    ADD CONSTRAINT tally_pkey PRIMARY KEY (domain, verdict);
CREATE INDEX domain_by_age ON public.domain USING btree (last_seen);
CREATE INDEX domain_by_organisation ON public.domain USING btree (organisation);
CREATE INDEX domain_giving_way ON public.domain USING btree (last_seen) WHERE ((NOT pinned) AND ((last_seen - first_seen) < 259200));
CREATE INDEX judged_by_time ON public.judged USING btree (at);
ALTER TABLE ONLY public.held_piece
    ADD CONSTRAINT held_piece_held_fkey FOREIGN KEY (held) REFERENCES public.held(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.key
    ADD CONSTRAINT key_domain_fkey FOREIGN KEY (domain) REFERENCES public.domain(name) ON DELETE CASCADE;
ALTER TABLE ONLY public.release
    ADD CONSTRAINT release_held_fkey FOREIGN KEY (held) REFERENCES public.held(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tally
    ADD CONSTRAINT tally_domain_fkey FOREIGN KEY (domain) REFERENCES public.domain(name) ON DELETE CASCADE;
