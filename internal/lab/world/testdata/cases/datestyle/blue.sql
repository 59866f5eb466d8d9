CREATE TABLE token(id int PRIMARY KEY, d date, ts timestamp, tz timestamptz, i interval, f float8, ar float8[], b bytea);
INSERT INTO token VALUES (1,'2024-02-03','2024-02-03 04:05:06.7','2024-02-03 04:05:06.7+00','1 year -2 days +03:04:05.6',0.1+0.2,ARRAY[0.1+0.2::float8],'\x005c0a27ff'),(2,'2024-02-03','2024-02-03 04:05:06','2024-02-03 04:05:06+00','-1 mon',1,'{}','');
ALTER DATABASE :"db" SET datestyle='SQL, DMY';
