-- +goose Up
CREATE TABLE owner (id bigint PRIMARY KEY, name varchar(20));
CREATE TABLE pet (id bigint PRIMARY KEY, owner_id bigint, name text);
CREATE TABLE visit (id bigint PRIMARY KEY);
