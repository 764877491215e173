{{ config(unique_key='carrier') }}

select * from {{ source('ops', 'airlines') }}
{% if is_incremental() %}
where updated_at >= (select max(updated_at) from {{ this }})
{% endif %}
