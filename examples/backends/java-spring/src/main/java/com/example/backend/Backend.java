package com.example.backend;
public final class Backend { public static void main(String[] a) { System.out.println(metabase.token.v1.MetabaseTokenServiceGrpc.SERVICE_NAME); } }
