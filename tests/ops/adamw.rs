crate::adam::adam_tests!(adamw);
