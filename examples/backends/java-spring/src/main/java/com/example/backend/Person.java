package com.example.backend;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;

/** An entry of the user database. */
record Person(String id, String email, @JsonProperty("first_name") String firstName,
        @JsonProperty("last_name") String lastName, List<String> groups, Map<String, String> attributes) {
}
