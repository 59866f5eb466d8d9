ALTER DATABASE :"db" SET datestyle='SQL, DMY';
